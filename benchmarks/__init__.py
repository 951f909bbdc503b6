"""What is measured: speed, memory and counts over many networks, each as ratios or counts in one run."""
