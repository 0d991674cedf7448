"""The leaderboard: one JSON file a result, and their table beside published figures in text, Markdown, CSV, HTML."""
