"""Administration: `/api/v1/endpoints`, `/limits`, `/system/stats`, `/admin/cleanup`."""
