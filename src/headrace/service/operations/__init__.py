"""What operators look at: health, metrics, traces, and what is thrown away."""
