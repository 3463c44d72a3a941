"""Rates tweets by a small model on this machine, and compares it with people.

Starts the model's server, writes one request a tweet, sends them with `headrace run`,
and counts how often model and people agree on the sign. Run again, it goes on where it
stopped, or only counts.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from model_process import running_model

ROOT = Path(__file__).resolve().parent.parent
TWEETS = ROOT / "var" / "data" / "tweets.tsv"
FOLDER = ROOT / "var" / "run"
IN_FLIGHT = 4
STRONG = 2.0
WEAK = 0.5
"""Means nearer to 0 than this say that people did not agree on a sign."""

SCHEMA = {
    "type": "object",
    "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
    "required": ["sentiment"],
    "additionalProperties": False,
}
QUESTION = "Is the sentiment of this tweet positive or negative?\n\nTweet: "


@dataclass(frozen=True)
class Tweet:
    """A tweet and the mean of its human ratings, from -4 to 4."""

    custom_id: str
    rating: float
    text: str

    @property
    def is_strong(self) -> bool:
        return abs(self.rating) >= STRONG


def read_tweets() -> list[Tweet]:
    rows = (row.split("\t", 2) for row in TWEETS.read_text().splitlines())
    return [
        Tweet(f"tweet-{number}", float(rating), html.unescape(text))
        for number, rating, text in rows
        if abs(float(rating)) >= WEAK
    ]


def choose(tweets: list[Tweet], count: int) -> list[Tweet]:
    """Return half strongly and half weakly rated ones, spread over the whole file."""
    strong = [tweet for tweet in tweets if tweet.is_strong]
    weak = [tweet for tweet in tweets if not tweet.is_strong]
    return spread(strong, (count + 1) // 2) + spread(weak, count // 2)


def spread(tweets: list[Tweet], count: int) -> list[Tweet]:
    count = min(count, len(tweets))
    return [tweets[index * len(tweets) // count] for index in range(count)]


def request(tweet: Tweet) -> dict[str, object]:
    """Return the tweet's line in OpenAI's batch format."""
    schema = {"name": "sentiment", "strict": True, "schema": SCHEMA}
    body = {
        "model": "smollm2",
        "messages": [
            {
                "role": "system",
                "content": "You label the sentiment of tweets. Answer with JSON.",
            },
            {"role": "user", "content": QUESTION + tweet.text},
        ],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "temperature": 0,
        "max_tokens": 32,
    }
    return {
        "custom_id": tweet.custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def send(source: Path, out: Path) -> int:
    """Run Headrace on the requests; return its exit code."""
    with running_model(FOLDER / "model_server.log", IN_FLIGHT) as address:
        command = [str(Path(sys.executable).with_name("headrace")), "run", str(source)]
        command += ["-o", str(out), "--base-url", address]
        command += ["--in-flight", str(IN_FLIGHT), "--timeout", "300"]
        command += ["--store", str(FOLDER / "headrace.db")]
        no_key = {"HEADRACE_API_KEY": "this-server-asks-for-none"}
        return subprocess.run(command, env=os.environ | no_key, check=False).returncode


def answers(out: Path) -> dict[str, str]:
    """Return what the model said, by `custom_id`."""
    found = {}
    for line in out.read_text().splitlines():
        row = json.loads(line)
        said = row["response"]["body"]["choices"][0]["message"]["content"]
        found[row["custom_id"]] = json.loads(said)["sentiment"]
    return found


def agreement(tweets: list[Tweet], said: dict[str, str]) -> str:
    """Return in words how often the signs are the same, among those answered."""
    answered = [tweet for tweet in tweets if tweet.custom_id in said]
    agreed = sum(
        (said[tweet.custom_id] == "positive") == (tweet.rating > 0)
        for tweet in answered
    )
    share = f" ({agreed / len(answered):.0%})" if answered else ""
    return f"{agreed} of {len(answered)}{share}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tweets", type=int, default=60, help="how many to rate")
    count = parser.parse_args().tweets
    if count < 2:
        parser.error(f"--tweets {count}: allowed is 2 or more")
    chosen = choose(read_tweets(), count)
    FOLDER.mkdir(parents=True, exist_ok=True)
    source = FOLDER / f"tweets-{count}.jsonl"
    out = FOLDER / f"sentiment-{count}.jsonl"
    source.write_text("".join(json.dumps(request(tweet)) + "\n" for tweet in chosen))
    code = send(source, out)
    if code not in (0, 1):
        return code
    report(chosen, source, out)
    return code


def report(chosen: list[Tweet], source: Path, out: Path) -> None:
    said = answers(out)
    strong = [tweet for tweet in chosen if tweet.is_strong]
    errors = out.with_suffix(".errors.jsonl")
    print()
    print(f"Model and people agree on the sign of {agreement(chosen, said)} tweets,")
    print(f"and on {agreement(strong, said)} of those that people rated strongly.")
    if failed := len(chosen) - len(said):
        print(f"{failed} got no answer: {errors.relative_to(ROOT)}")
    print(f"Requests: {source.relative_to(ROOT)}")
    print(f"Answers:  {out.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
