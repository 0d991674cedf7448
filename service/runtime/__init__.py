"""What runs behind the routes: searches, writes, jobs, threads, readiness, scrubbing."""
