"""A batch as OpenAI's clients read it: every field is there, null when unset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.service.openai.batch import Batch, BatchUsage, Problem
from headrace.service.veil import reason_told


def batch_view(batch: Batch) -> dict[str, Any]:
    """Return the JSON object of a batch."""
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": _errors(batch.errors),
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.state.value,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "in_progress_at": batch.in_progress_at,
        "expires_at": batch.expires_at,
        "finalizing_at": batch.finalizing_at,
        "completed_at": batch.completed_at,
        "failed_at": batch.failed_at,
        "expired_at": batch.expired_at,
        "cancelling_at": batch.cancelling_at,
        "cancelled_at": batch.cancelled_at,
        "request_counts": {
            "total": batch.counts.total,
            "completed": batch.counts.completed,
            "failed": batch.counts.failed,
        },
        "usage": _usage(batch.usage),
        "metadata": batch.metadata,
        "priority": batch.priority,
        "job_id": batch.job_id,
        "retry_of": batch.retry_of,
        "pause_reason": reason_told(batch.pause_reason) or None,
    }


def list_view(batches: Sequence[Batch], *, has_more: bool) -> dict[str, Any]:
    """Return the JSON object of a page of batches."""
    return {
        "object": "list",
        "data": [batch_view(batch) for batch in batches],
        "first_id": batches[0].id if batches else None,
        "last_id": batches[-1].id if batches else None,
        "has_more": has_more,
    }


def _errors(problems: Sequence[Problem]) -> dict[str, Any] | None:
    if not problems:
        return None
    data = [
        {"code": p.code, "message": p.message, "param": p.param, "line": p.line}
        for p in problems
    ]
    return {"object": "list", "data": data}


def _usage(usage: BatchUsage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
