"""The PostgreSQL, the Redis and the process tree that `manage.py up` keeps for whoever brings none of their own."""
