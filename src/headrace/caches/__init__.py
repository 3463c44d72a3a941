"""Where answers are kept: in memory, and in Redis; in the jobs' database, see stores."""
