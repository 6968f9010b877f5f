"""LangChain over the OpenAI-shaped endpoints of the local provider: `make consumers` runs this file."""

import operator
from collections.abc import Iterator
from functools import reduce
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from unitask_sandbox import Settings, running

from contract_tests.test_llm_clients import WEATHER, Recipe


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatOpenAI]:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    with running(Settings(engine_process=False)) as url:
        yield ChatOpenAI(model="gpt-4o-mini", api_key="sandbox", base_url=f"{url}/v1", max_retries=0)  # type: ignore[arg-type]  # text becomes a secret


def test_langchain_invokes_and_streams_the_same(model: ChatOpenAI) -> None:
    said = "SIMULATED by the unitask sandbox. You asked: Hello there"

    assert model.invoke("Hello there").content == said
    assert "".join(str(chunk.content) for chunk in model.stream("Hello there")) == said


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_reads_structured_output(model: ChatOpenAI, method: Any) -> None:
    recipe = model.with_structured_output(Recipe, method=method).invoke("Hello there")

    assert isinstance(recipe, Recipe)
    assert recipe.steps[0].minutes >= 2


@pytest.mark.parametrize("read", ["whole", "stream"])
def test_langchain_calls_a_tool_and_returns_its_result(model: ChatOpenAI, read: str) -> None:
    bound, question = model.bind_tools([WEATHER]), HumanMessage("use get_weather, please")
    called: Any = bound.invoke([question]) if read == "whole" else reduce(operator.add, bound.stream([question]))
    (call,) = called.tool_calls
    last = bound.invoke([question, called, ToolMessage("rain", tool_call_id=call["id"])])

    assert (call["name"], call["args"]) == ("get_weather", {"place": "SIMULATED"})
    assert last.content == "SIMULATED by the unitask sandbox. You asked: rain"
