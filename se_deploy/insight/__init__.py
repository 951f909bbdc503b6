"""Gates per block and class, folding, bytes and cost per device."""
