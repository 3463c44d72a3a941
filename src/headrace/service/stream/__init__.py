"""Live events of jobs and batches, over SSE and WebSocket."""
