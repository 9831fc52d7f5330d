"""What the server needs to speak with a host: lines in and out, arguments in, replies out, waiting under a deadline."""
