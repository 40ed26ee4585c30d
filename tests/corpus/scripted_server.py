"""A server that plays author, user, assistant and executor for twenty APIs, now and then badly, and what should come
of it.

What is said is scripted here, and so is the corpus that has to come out; nothing of the pipeline is used for either.
"""

import json
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from corpus.role_server import Answer, ChatServer, refused, said

# Each API is about something of its own, by which its questions are told apart.
THINGS = (
    "Kelp Lichen Quartz Falcon Violin Glacier Pottery Saffron Tunnel Marathon "
    "Beacon Walnut Comet Harp Sundial Orchid Ferry Mosaic Castle Drum"
).split()
PLACES = (
    "Bergen Lisbon Ghent Turin Cadiz Malmo Krakow Riga Porto Split Graz Bilbao Aarhus Leeds Nantes "
    "Basel Oulu Trieste Cork Zadar"
).split()
BEGIN = (
    "Quick question before my train leaves:",
    "We argue about this at dinner, settle it please.",
    "My aunt will not stop asking, so",
    "For a paper that is due on Monday,",
    "Good evening!",
    "I have lost my notes again;",
    "Since it rains all week,",
    "Help, my boss wants this now:",
)
MIDDLE = (
    "which {thing} does {place} have",
    "look up every {thing} near {place}",
    "find me some {thing} out of {place}",
    "list what {place} knows as {thing}",
    "is there any {thing} around {place}",
    "tell us of each {thing} seen at {place}",
    "I need the {thing} that {place} is proud of",
)
END = (
    ", and what does {code} say?",
    ". Then open entry {code} for its keeper.",
    "; afterwards show number {code}.",
    " - oh, and who looks after {code}?",
    ". File {code} comes next, read it out.",
    ", plus whoever signed {code}.",
    ". Once you have that, check on {code} too.",
    ", then the person behind {code}, if you please.",
    ". Last of all: whose is {code}?",
)
"""What instructions are put together of, so that no two of forty share more than one part."""

BAD = {
    1: "functions are no JSON at first",
    2: "the document is not valid OpenAPI at first",
    3: "the document is cut off",
    4: "the document is never valid",
    5: "the introduction is refused at first",
    6: "the server is asked too much at first, and fails then",
    7: "the document is that of another API",
    8: "the server hangs at first",
    9: "the document copies the example at first",
    10: "everything is refused",
    11: "instructions name the API, have gaps, and come twice",
    12: "an instruction is in the evaluation set",
    13: "an instruction repeats one of another API",
    14: "a turn cannot be read at first",
    15: "an argument comes from nowhere",
    16: "a response says more than was observed",
    17: "the API's answer is no JSON at first",
    18: "the assistant has to ask for the place",
    19: "the first search finds nothing, and is mended",
}
"""What goes wrong with an API, by its place in the list."""


@dataclass
class Scripted:
    """One API of the list, and what is said about it."""

    index: int
    name: str
    evaluation: str
    once: dict[str, int] = field(default_factory=dict)  # what has gone wrong already, and with which seed

    @property
    def thing(self) -> str:
        return THINGS[self.index]

    @property
    def place(self) -> str:
        return PLACES[self.index]

    def code(self, number: int) -> str:
        return f"{self.thing[0]}{self.index:02}-{number + 1}7"

    @property
    def functions(self) -> list[dict[str, Any]]:
        place = {"name": "place", "type": "string", "required": True, "description": f"Where the {self.thing} is."}
        code = {"name": "code", "type": "string", "required": True, "description": "Which record."}
        return [
            {
                "name": f"find{self.thing}",
                "description": f"Find the {self.thing.lower()} of a place.",
                "parameters": [place],
                "output": "Names of what there is.",
            },
            {
                "name": f"read{self.thing}",
                "description": f"Read a record about a {self.thing.lower()}.",
                "parameters": [code],
                "output": "Who keeps it.",
            },
        ]

    @property
    def document(self) -> dict[str, Any]:
        def operation(function: dict[str, Any], where: str, answer: dict[str, Any]) -> dict[str, Any]:
            (parameter,) = function["parameters"]
            asked = {"name": parameter["name"], "in": where, "required": True, "schema": {"type": "string"}}
            schema = {"type": "object", "properties": answer, "required": list(answer)}
            return {
                "get": {
                    "operationId": function["name"],
                    "summary": function["description"],
                    "parameters": [{**asked, "description": parameter["description"]}],
                    "responses": {
                        "200": {"description": "Found.", "content": {"application/json": {"schema": schema}}}
                    },
                }
            }

        find, read = self.functions
        text = {"type": "string"}
        path = f"/{self.thing.lower()}"
        return {
            "openapi": "3.0.0",
            "info": {"title": self.name, "version": "1.0.0", "description": f"All about {self.thing.lower()}"},
            "servers": [{"url": f"https://{self.thing.lower()}.example/v1"}],
            "paths": {
                path: operation(find, "query", {"place": text, "found": {"type": "array", "items": text}}),
                f"{path}/{{code}}": operation(read, "path", {"code": text, "keeper": text}),
            },
        }

    def instruction(self, number: int) -> str:
        """The instructions that are fine."""
        if self.index == 18:
            wishes = (
                "Which {} can be seen where I spend my summers?",
                "My cousin moved house; which {} is close to her, would you look?",
            )
            return wishes[number].format(self.thing.lower())
        place = self.index * 2 + number
        wish = f"{BEGIN[place % 8]} {MIDDLE[place % 7]}{END[place % 9]}"
        return wish.format(thing=self.thing.lower(), place=self.place, code=self.code(number))

    @property
    def keeper(self) -> str:
        return f"Ms {self.thing}er"

    def found(self, number: int) -> list[str]:
        return [f"{self.thing} {self.place} {letter}" for letter in "AB"]


def scripted_apis(names: Sequence[str], evaluation: str) -> list[Scripted]:
    """Twenty APIs of a list, by their names, and an instruction of the evaluation set."""
    assert len(names) == len(THINGS) == len(PLACES) == 20
    return [Scripted(index, name, evaluation) for index, name in enumerate(names)]


class ScriptedServer(ChatServer):
    """Plays all roles; which one is asked is told by the model's name."""

    def __init__(self, apis: Sequence[Scripted], hang: float = 3.0) -> None:
        super().__init__(self._say)
        self.apis, self.hang = list(apis), hang
        self._once = threading.Lock()

    def _say(self, body: dict[str, Any]) -> str | Answer:
        messages = body["messages"]
        if "good morning" in messages[0]["content"] and len(messages) == 1:
            return "Good morning to you!"  # as a server that takes `response_format` and passes over it
        role = body["model"].removesuffix("-1")
        return getattr(self, f"_{role}")(self._api(role, messages), messages, body["seed"])

    def _api(self, role: str, messages: list[dict[str, str]]) -> Scripted:
        text = "\n".join(message["content"] for message in messages if message["role"] != "assistant")
        if role == "author":
            name = re.findall(r"^Name: (.+)$", text, re.MULTILINE)[-1]
            return next(api for api in self.apis if api.name == name)
        (api,) = [api for api in self.apis if re.search(rf"(find|read|/|which ){api.thing}\b", text, re.IGNORECASE)]
        return api

    def _fails(self, api: Scripted, what: str) -> bool:
        """The server fails at the first request alone."""
        with self._once:
            return api.once.setdefault(what, -1) == -1 and api.once.update({what: 0}) is None

    def _errs(self, api: Scripted, what: str, seed: int) -> bool:
        """The model errs in its first answer, whenever that is asked for; a retry has another seed."""
        with self._once:
            return api.once.setdefault(what, seed) == seed

    def _author(self, api: Scripted, messages: list[dict[str, str]], seed: int) -> str | Answer:
        asked, name = messages[-1]["content"], BAD.get(api.index, "")
        if api.index == 10:
            return said(None, refusal="I cannot help with that.")
        if asked.startswith("Introduce"):
            if api.index == 5 and self._errs(api, name, seed):
                return "I'm sorry, I cannot help with that."
            if api.index == 8 and self._fails(api, name):
                time.sleep(self.hang)
            return f"{api.name} knows everything about {api.thing.lower()}. " * 4
        if "Plan the functions" in asked:
            if api.index == 6 and self._fails(api, name):
                return refused(429, "Rate limit reached", "rate_limit_exceeded", **{"Retry-After": "1"})
            if api.index == 1:
                return "Here they are: find, and read. Anything else?"
            return f"```json\n{json.dumps({'functions': api.functions})}\n```"
        if "cut off" in asked:
            return json.dumps(api.document)[300:]
        if asked.startswith("Write the OpenAPI"):
            if api.index == 6 and self._fails(api, f"{name} again"):
                return refused(500, "Internal error")
            if api.index == 3:
                return said(json.dumps(api.document)[:300], finish="length")
            if api.index == 7:
                return json.dumps(self.apis[0].document | {"info": api.document["info"]})
            if api.index == 9:
                return messages[1]["content"]
            return json.dumps(self._spoilt(api) if api.index in (2, 4) else api.document)
        # It is asked to mend what it wrote.
        if "functions" in messages[2]["content"].splitlines()[0]:
            return json.dumps({"functions": api.functions})
        return json.dumps(self._spoilt(api) if api.index == 4 else api.document)

    def _spoilt(self, api: Scripted) -> dict[str, Any]:
        document = api.document
        for path in document["paths"].values():
            del path["get"]["responses"]
        return document

    def _user(self, api: Scripted, messages: list[dict[str, str]], seed: int) -> str:
        if len(messages) == 1 and "The assistant's question" in messages[0]["content"]:
            return f"I am in {api.place} then."
        texts = [api.instruction(0), api.instruction(1)]
        if api.index == 11:
            bad = [
                f"What does {api.name} say about {api.thing.lower()}?",
                f"Find {api.thing.lower()} in [city name] now",
            ]
            again = [api.instruction(1)] if "written already" in messages[-1]["content"] else [api.instruction(0)] * 2
            texts = bad if self._errs(api, BAD[11], seed) else again
        if api.index == 12:
            texts[1] = api.evaluation
        if api.index == 13:
            other = self.apis[0]
            texts[1] = f"{other.instruction(1)} Thanks!"
        details = f"The place is {api.place}." if api.index == 18 else ""
        items = [{"number": n, "instruction": text, "details": details} for n, text in enumerate(texts, 1)]
        return json.dumps({"instructions": items})

    def _assistant(self, api: Scripted, messages: list[dict[str, str]], seed: int) -> str:
        number = next(n for n in (0, 1) if api.instruction(n) == messages[1]["content"])
        turns = expected_turns(api, number)
        done = sum(message["content"].startswith("Observation:") for message in messages)
        if api.index == 14 and done == 0 and self._errs(api, f"{BAD[14]} {number}", seed):
            return "Hm, let me think about that for a moment."
        return json.dumps(turns[done])

    def _executor(self, api: Scripted, messages: list[dict[str, str]], seed: int) -> str:
        if api.index == 17 and "Hm" not in str(messages) and len(messages) == 2:
            return "Hm, one moment please."
        request = next(m["content"] for m in reversed(messages) if m["content"].startswith("GET"))
        return json.dumps(expected_answer(api, request))


def expected_turns(api: Scripted, number: int) -> list[dict[str, Any]]:
    """What the assistant writes, turn by turn."""
    find, read = (function["name"] for function in api.functions)
    look = {"thought": f"I look for it with {find}.", "action": find, "action_input": {"place": api.place}}
    open_ = {"thought": "Now the record.", "action": read, "action_input": {"code": api.code(number)}}
    names = " and ".join(api.found(number))
    told = f"There are {names}, and {api.keeper} keeps {api.code(number)}."
    end = {"thought": "That is all.", "response": told}
    if api.index == 15:
        return [{**look, "action_input": {"place": "Atlantis"}}, open_, end]
    if api.index == 16:
        return [look, open_, {**end, "response": f"{told} It costs 4711 crowns."}]
    if api.index == 18:
        ask = {"thought": "Where is that?", "action": "getDetails", "action_input": {"Question": "Which place?"}}
        return [ask, look, {"thought": "That is all.", "response": f"You can see {names}."}]
    if api.index == 19:
        return [{**look, "action_input": {"place": api.place.lower()}}, look, open_, end]
    return [look, open_, end]


def expected_answer(api: Scripted, request: str) -> dict[str, Any]:
    """What the executor writes for a request line."""
    if "?" not in request:
        return {"status": 200, "body": {"code": request.rpartition("/")[2], "keeper": api.keeper}}
    place = request.partition("place=")[2]
    if place != api.place and api.index == 19:
        return {"status": 404, "body": {"error": "No such place; write it large."}}
    return {"status": 200, "body": {"place": place, "found": api.found(0)}}


def expected_instance(api: Scripted, number: int) -> dict[str, Any]:
    """An instance as the raw layout has it, but for texts that follow from the rest."""
    steps = []
    *calls, end = expected_turns(api, number)
    for turn in calls:
        given = turn["action_input"]
        if turn["action"] == "getDetails":
            observation = f"I am in {api.place} then."
        else:
            line = f"GET /x?place={given['place']}" if "place" in given else f"GET /x/{given['code']}"
            answer = expected_answer(api, line)
            body = json.dumps(answer["body"], ensure_ascii=False, separators=(",", ":"))
            observation = f"Status Code: {answer['status']}. Response: {body}"
        steps.append((turn["thought"], turn["action"], given, observation))
    return {
        "instruction": api.instruction(number),
        "steps": steps,
        "final_thought": end["thought"],
        "response": end["response"],
    }


def expected_taken(api: Scripted) -> list[int]:
    """Which of an API's two instructions are taken."""
    if api.index in SET_ASIDE:
        return []
    return [0] if api.index in (12, 13) else [0, 1]


SET_ASIDE = (4, 7, 10)
"""APIs of which nothing comes."""

FAILING = {15: "grounded", 16: "supported"}
"""The gate at which an API's instances are not kept."""
