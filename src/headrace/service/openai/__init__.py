"""The part of the service that OpenAI's clients drive."""
