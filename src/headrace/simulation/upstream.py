"""The simulated provider as a state machine that is told the time.

    arrive ──► over (refused)  ──────────────────────► finish
       ├─────► serving ── service_s passes ──────────► finish
       └─────► waiting ── a slot is free ──► serving     (the caller left: abort)

The driver (in process, or the server) waits `Visit.service_s` and then calls `finish`.
"""

from __future__ import annotations

import math
from collections import deque
from hmac import compare_digest

from headrace.simulation.answering import (
    Stamp,
    bad_ask_body,
    error_body,
    pieces,
    prompt_chance,
    whole,
)
from headrace.simulation.asking import Ask, Asked, BadAsk, understand
from headrace.simulation.chance import uniform
from headrace.simulation.distribution import Constant, parse_distribution
from headrace.simulation.quotas import Quotas, Refusal
from headrace.simulation.scenario import Scenario, statuses
from headrace.simulation.strain import burst_status, slowness
from headrace.simulation.tally import Tally
from headrace.simulation.visit import Answer, Fate, Headers, Phase, Visit

_NOTHING = Ask("echo")
_INJECTED_RETRY_AFTER_S = 1.0
_ERROR_TYPES = {429: "requests", 401: "authentication_error", 403: "permission_error"}
_TOO_MANY = (
    "Too many concurrent requests: {cap} are being served, the concurrency limit of "
    "this endpoint."
)


class Upstream:
    """One endpoint of the simulated provider.

    Args:
        scenario: how it behaves.
        now: the present moment; outages and slow start count from it.
        utc_offset_s: UTC seconds at `now` = 0, for the `created` of answers.
        key: what `Authorization: Bearer` must bear; None = anything. Whoever reads the
            scenario's `require_key` from the environment passes it.
    """

    def __init__(
        self,
        scenario: Scenario,
        now: float,
        *,
        utc_offset_s: float = 0.0,
        key: str | None = None,
    ) -> None:
        self._start_s = now
        self._utc_offset_s = utc_offset_s
        self._key = key
        self._number = 0
        self._queue: deque[Visit] = deque()
        self.tally = Tally(scenario.max_ids)
        self._adopt(scenario)
        self._quotas = Quotas(scenario, now)
        self._course = deque(scenario.course())

    def _adopt(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._latency = parse_distribution(scenario.latency)
        self._error_latency = parse_distribution(
            scenario.error_latency or scenario.latency
        )
        self._output_tokens = parse_distribution(scenario.output_tokens)
        self._fates = _fates(scenario)

    # The life of a visit

    def arrive(self, now: float, asked: Asked) -> Visit:
        """Decide what becomes of a request."""
        self._follow_course(now)
        ask = understand(asked, any_path=self.scenario.any_path)
        counted = not (isinstance(ask, Ask) and ask.kind == "models")
        if counted:
            self._count(asked)
        visit = Visit(self._number, _NOTHING if isinstance(ask, BadAsk) else ask)
        if self._refuse_by_outage(now, visit) or self._refuse_by_key(visit, asked):
            return visit
        if isinstance(ask, BadAsk):
            return self._refuse(visit, "request", ask.status, bad_ask_body(ask))
        if not counted or self._refuse_by_model(visit) or self._refuse_by_cap(visit):
            return visit
        if not self._refuse_by_rate(now, visit):
            self._admit(now, visit)
        return visit

    def finish(self, now: float, visit: Visit) -> Answer:
        """End a visit whose time has come; return what is to be sent.

        For fates that send no whole answer, the body is empty or cut.
        """
        self._follow_course(now)
        if visit.phase is Phase.SERVING and visit.ask.kind != "models":
            self._end(now, visit)
            self._tally_end(visit)
        visit.phase = Phase.OVER
        return Answer(visit.status, self.headers(now, visit), self._body(now, visit))

    def abort(self, now: float, visit: Visit) -> None:
        """End a visit whose caller has gone; nothing if it is over already."""
        if visit.phase is Phase.OVER or visit.ask.kind == "models":
            return
        self.tally.aborted += 1
        if visit.phase is Phase.WAITING:
            visit.phase = Phase.OVER
            self.tally.waiting -= 1
            self._queue.remove(visit)
            self._settle(now, visit, visit.ask.input_tokens)
        else:
            self._end(now, visit)

    def pieces(self, now: float, visit: Visit) -> list[bytes]:
        """Return the events of a streamed answer."""
        return pieces(visit.ask, self._stamp(now, visit))

    def headers(self, now: float, visit: Visit) -> Headers:
        """Return an answer's own headers as they are true now."""
        found: Headers = (("x-request-id", f"req_{visit.number:08x}"),)
        if self.scenario.headers:
            found += self._quotas.headers(now)
        wait_s = visit.retry_after_s
        if self.scenario.retry_after and wait_s is not None and math.isfinite(wait_s):
            found += (
                ("retry-after", str(math.ceil(wait_s))),
                ("retry-after-ms", str(math.ceil(wait_s * 1000))),
            )
        return found

    # Control

    def change(self, now: float, scenario: Scenario) -> None:
        """Behave differently from now on; limits that change start afresh."""
        elapsed_s = now - self._start_s
        course = [step for step in scenario.course() if step[0] > elapsed_s]
        self._course = deque(course)
        self._turn_to(now, scenario)

    def _follow_course(self, now: float) -> None:
        """Make the changes that are due."""
        course = self._course
        while course and course[0][0] <= now - self._start_s:
            self._turn_to(now, course.popleft()[1])

    def _turn_to(self, now: float, scenario: Scenario) -> None:
        old = self.scenario
        self._adopt(scenario)
        if _limits(old) != _limits(scenario):
            self._quotas = Quotas(scenario, now)
        self._start_waiting()

    def reset(self) -> None:
        """Count from zero; what is in flight stays so."""
        old, self.tally = self.tally, Tally(self.scenario.max_ids)
        self.tally.in_flight = self.tally.peak_in_flight = old.in_flight
        self.tally.waiting = old.waiting

    def elapsed_s(self, now: float) -> float:
        """Return the seconds since the start."""
        return now - self._start_s

    def outage(self, now: float) -> str:
        """Return the kind of outage at this moment, or `none`."""
        elapsed_s = now - self._start_s
        for outage in self.scenario.outages:
            if outage.from_s <= elapsed_s < outage.to_s:
                return outage.kind
        return self.scenario.down

    # Refusals

    def _count(self, asked: Asked) -> None:
        self._number += 1
        self.tally.calls += 1
        if asked.call_id:
            self.tally.items.add(asked.call_id)
        if asked.body:
            self.tally.bodies.add(asked.body)

    def _refuse(self, visit: Visit, kind: str, status: int, body: bytes) -> Visit:
        self.tally.refused[kind] += 1
        visit.fate = Fate.REFUSED
        visit.phase = Phase.OVER
        visit.status = status
        visit.error_body = body
        visit.service_s = self.scenario.refusal_s
        return visit

    def _refuse_by_outage(self, now: float, visit: Visit) -> bool:
        kind = self.outage(now)
        if kind == "none":
            return False
        message = "The service is temporarily unavailable."
        body = error_body(message, "server_error", None, "service_unavailable")
        self._refuse(visit, "outage", 503, body)
        if kind == "refuse":
            visit.fate = Fate.NO_CONNECTION
        elif kind == "drop":
            visit.fate = Fate.DROP_BEFORE
        return True

    def _refuse_by_key(self, visit: Visit, asked: Asked) -> bool:
        expected = f"Bearer {self._key}".encode()
        if self._key is None or compare_digest(asked.authorization.encode(), expected):
            return False
        message = "Incorrect API key provided."
        body = error_body(message, "invalid_request_error", None, "invalid_api_key")
        self._refuse(visit, "key", 401, body)
        return True

    def _refuse_by_model(self, visit: Visit) -> bool:
        models, model = self.scenario.models, visit.ask.model
        if not models or model in models or visit.ask.kind == "echo":
            return False
        message = f"The model `{model}` does not exist or you do not have access to it."
        body = error_body(message, "invalid_request_error", "model", "model_not_found")
        self._refuse(visit, "model", 404, body)
        return True

    def _refuse_by_cap(self, visit: Visit) -> bool:
        cap = self.scenario.cap
        full = cap is not None and self.tally.in_flight >= cap
        if not full or self.scenario.cap_mode == "queue":
            return False
        message = _TOO_MANY.format(cap=cap)
        code = "concurrency_limit_exceeded"
        self._refuse(
            visit, "concurrency", 429, error_body(message, "concurrency", None, code)
        )
        return True

    def _refuse_by_rate(self, now: float, visit: Visit) -> bool:
        found = self._quotas.admit(now, self._reserved(visit.ask))
        if not isinstance(found, Refusal):
            visit.charge = found
            return False
        visit.retry_after_s = found.wait_s
        code = "rate_limit_exceeded"
        body = error_body(found.message, found.dimension, None, code)
        self._refuse(visit, found.dimension, 429, body)
        return True

    # Admission and end

    def _reserved(self, ask: Ask) -> int:
        if ask.kind in ("embeddings", "echo"):
            return ask.input_tokens
        return ask.input_tokens + (ask.max_tokens or self.scenario.default_max_tokens)

    def _admit(self, now: float, visit: Visit) -> None:
        self._draw(now, visit)
        self.tally.reserved_tokens += self._reserved(visit.ask)
        cap = self.scenario.cap
        if cap is not None and (self.tally.in_flight >= cap or self._queue):
            visit.phase = Phase.WAITING
            self.tally.waiting += 1
            self._queue.append(visit)
        else:
            self.tally.enter()

    def _draw(self, now: float, visit: Visit) -> None:
        seed, number = self.scenario.seed, visit.number
        u = uniform(seed, number, 1)
        for fate, status, up_to in self._fates:
            if u < up_to:
                self._doom(visit, fate, status)
                break
        else:
            if status := burst_status(self.scenario, now - self._start_s, number):
                self._doom(visit, Fate.ERROR, status)
        if visit.fate is Fate.DROP_BEFORE and uniform(seed, number, 2) < 0.5:
            visit.fate = Fate.DROP_WITHIN
        lasting = self._error_latency if visit.fate is Fate.ERROR else self._latency
        visit.service_s = lasting.at(uniform(seed, number))
        visit.service_s *= slowness(
            self.scenario, now - self._start_s, number, self.tally.in_flight + 1
        )
        if visit.fate is not Fate.ERROR:
            visit.output_tokens = self._output(visit.ask)

    def _doom(self, visit: Visit, fate: Fate, status: int) -> None:
        visit.fate = fate
        visit.status = status
        if fate is Fate.HANG:
            self.tally.hung += 1
        elif fate is Fate.ERROR:
            kind = "server_error" if status >= 500 else "invalid_request_error"
            message = f"The simulated provider fails with {status}, as it was told to."
            code = "rate_limit_exceeded" if status == 429 else None
            visit.error_body = error_body(
                message, _ERROR_TYPES.get(status, kind), None, code
            )
            if status == 429:
                visit.retry_after_s = _INJECTED_RETRY_AFTER_S

    def _output(self, ask: Ask) -> int:
        if ask.kind in ("embeddings", "echo"):
            return 0
        length = self._output_tokens
        u = 0.5 if isinstance(length, Constant) else prompt_chance(ask)
        drawn = max(1, round(length.at(u)))
        return min(drawn, ask.max_tokens or self.scenario.default_max_tokens)

    def _end(self, now: float, visit: Visit) -> None:
        visit.phase = Phase.OVER
        self.tally.in_flight -= 1
        output = visit.output_tokens if visit.fate is Fate.ANSWER else 0
        self._settle(now, visit, visit.ask.input_tokens + output)
        self._start_waiting()

    def _settle(self, now: float, visit: Visit, tokens: int) -> None:
        if visit.charge is not None and self.scenario.token_accounting == "actual":
            visit.charge.meter.adjust(now, visit.charge, tokens)

    def _start_waiting(self) -> None:
        cap = self.scenario.cap
        while self._queue and (cap is None or self.tally.in_flight < cap):
            visit = self._queue.popleft()
            visit.phase = Phase.SERVING
            self.tally.waiting -= 1
            self.tally.enter()
            if visit.on_start is not None:
                visit.on_start()

    def _tally_end(self, visit: Visit) -> None:
        tally = self.tally
        if visit.fate is Fate.ANSWER:
            tally.answered += 1
            tally.input_tokens += visit.ask.input_tokens
            tally.output_tokens += visit.output_tokens
        elif visit.fate is Fate.ERROR:
            tally.errors[visit.status] += 1
        elif visit.fate is Fate.MALFORMED:
            tally.malformed += 1
        else:
            tally.dropped += 1

    # Answers

    def _stamp(self, now: float, visit: Visit) -> Stamp:
        return Stamp(visit.number, int(now + self._utc_offset_s), visit.output_tokens)

    def _body(self, now: float, visit: Visit) -> bytes:
        match visit.fate:
            case Fate.REFUSED | Fate.ERROR:
                return visit.error_body
            case Fate.ANSWER | Fate.DROP_WITHIN:
                return whole(visit.ask, self._stamp(now, visit), self.scenario.models)
            case Fate.MALFORMED:
                good = whole(visit.ask, self._stamp(now, visit), self.scenario.models)
                if uniform(self.scenario.seed, visit.number, 2) < 0.5:
                    return good[: len(good) // 2]
                return b"<html><body>502 Bad Gateway</body></html>"
        return b""


def _fates(scenario: Scenario) -> tuple[tuple[Fate, int, float], ...]:
    """Return each fate by chance with the upper end of its share of 0 to 1."""
    shares = [(Fate.ERROR, status, share) for status, share in statuses(scenario)]
    shares += [
        (Fate.DROP_BEFORE, 200, scenario.drop_rate),
        (Fate.HANG, 200, scenario.hang_rate),
        (Fate.MALFORMED, 200, scenario.malformed_rate),
    ]
    up_to = 0.0
    found = []
    for fate, status, share in shares:
        up_to += share
        found.append((fate, status, up_to))
    return tuple(found)


def _limits(scenario: Scenario) -> tuple[object, ...]:
    return (
        scenario.rpm,
        scenario.tpm,
        scenario.rate_model,
        scenario.rise_per_s,
        scenario.others,
        scenario.headers_factor,
    )
