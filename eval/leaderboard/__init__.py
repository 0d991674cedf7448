"""The leaderboard: one JSON file per result, and a table with published figures, as text, Markdown, CSV and HTML."""
