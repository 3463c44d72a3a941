"""langchain-openai over what the service answers; prints what it got.

Where the service is, and the key, stand in OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from __future__ import annotations

import json

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

QUESTION = "Name a river."


def main() -> None:
    chat = ChatOpenAI(model="m")
    one = chat.invoke(QUESTION)
    pieces = [piece.text for piece in chat.stream(QUESTION)]
    many = chat.batch([f"{QUESTION} ({n})" for n in range(20)])
    by_responses = ChatOpenAI(model="m", use_responses_api=True).invoke(QUESTION)
    # Without this, it sends numbers of tokens instead of text, and fetches a tokenizer.
    embeddings = OpenAIEmbeddings(model="m", check_embedding_ctx_length=False)
    vectors = embeddings.embed_documents(["a", "b", "c"])
    got = {
        "one": one.text,
        "tokens": one.usage_metadata["total_tokens"] if one.usage_metadata else 0,
        "pieces": pieces,
        "many": [answer.text for answer in many],
        "by_responses": by_responses.text,
        "vectors": [len(vector) for vector in vectors],
    }
    print(json.dumps(got))


if __name__ == "__main__":
    main()
