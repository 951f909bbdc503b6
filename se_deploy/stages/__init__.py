"""One file per public function: composes the rooms below, decides nothing that a room can decide."""
