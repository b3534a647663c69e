"""Images inside tars: find them, note where each lies, look places up."""
