"""What the commands of cli need: playing a session, looking at sessions, the demo, the doctor, the hosts."""
