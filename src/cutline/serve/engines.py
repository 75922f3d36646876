"""Serving engines: what each does unless told otherwise. Facts of its documentation; numbers measured elsewhere are in constants."""

from __future__ import annotations

from dataclasses import dataclass

from cutline.serve.columns import Engine

GIB = 2.0**30


@dataclass(frozen=True)
class Kind:
    """Defaults of one engine. `memory_share` is of all memory; `free_share` of what weights leave."""

    name: str
    about: str
    memory_share: float = 0.9
    free_share: float = 1.0
    reserve_bytes: float = 3.0 * GIB
    whole_output: bool = False
    slots: int = 1024
    budget: int = 8192
    narrow_cache: bool = False  # keeps keys and values in 8 bits where weights are in 8 bits or less
    launch: str = "graph"
    waves: float = 10.0  # of its published benchmarks

    def columns(self) -> Engine:
        """Return the columns of the serving model."""
        return Engine(
            self.memory_share,
            self.free_share,
            self.reserve_bytes,
            float(self.whole_output),
            float(self.slots),
            float(self.budget),
        )


ENGINES = {
    k.name: k
    for k in (
        Kind("vllm", "vLLM, one step for prompts and decoding"),
        Kind("sglang", "SGLang", memory_share=0.88),
        Kind(
            "trtllm", "TensorRT-LLM", memory_share=1.0, free_share=0.93, reserve_bytes=2.0 * GIB, whole_output=True, slots=2048,
            narrow_cache=True,
        ),
        Kind("vllm-ascend", "vLLM on Ascend", launch="eager", slots=256),
        Kind("mindie", "MindIE on Ascend", launch="eager", slots=256),
        Kind("custom", "a maker's own engine: prompts and decoding in pools of their own", slots=4096),
    )
}  # fmt: skip


def engine_of(text: str) -> Kind:
    """Return the engine that a table calls `text`; vLLM where it is none of the known ones."""
    words = text.casefold()
    for part, name in (
        ("vllm-ascend", "vllm-ascend"), ("mindie", "mindie"), ("vllm", "vllm"), ("sglang", "sglang"), ("tensorrt", "trtllm"),
        ("cloudmatrix", "custom"), ("in-house", "custom"), ("profile-data", "custom"),
    ):  # fmt: skip
        if part in words:
            return ENGINES[name]
    return ENGINES["vllm"]
