"""What training minimises: a ranking loss or several, and a regulariser that keeps vectors sparse. One a file."""
