"""The jobs API: `/api/v1/jobs`."""
