"""What `alc run` needs: playing a session as a client of the server, and who answers its prompts."""
