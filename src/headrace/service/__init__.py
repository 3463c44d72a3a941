"""The HTTP service: OpenAI's Files and Batch API, a gateway, jobs, live events."""
