"""Parts of the stages: what composes rooms, and is too large for the file of one public function or shared by two."""
