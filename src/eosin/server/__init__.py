"""A page for people: the server, its review of doubtful cases, and the record of what was said."""
