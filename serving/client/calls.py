"""The methods of both clients: AsyncPredictClient has them as they are, PredictClient blocking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.client import batching, requests
from serving.client.base import BaseClient
from serving.client.batching import Answer, Chunk
from serving.client.examples import Row
from serving.client.model_config import ServedModelConfig
from serving.client.requests import ModelChoice
from serving.client.results import ClassScore, ModelMetadata, VersionStatus
from serving.client.retry import Deadline, RetryPolicy
from serving.errors import Code, ServingError, StatusError

CONCURRENCY = 4
# Seconds between two looks at a server that is not ready.
POLL_SECONDS = 0.1


class Calls(BaseClient):
    """Calls as coroutines. They ask of `self` what every client has: PredictClient borrows them."""

    async def predict(
        self: BaseClient,
        model_name: str,
        inputs: Mapping[str, Any],
        signature_name: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        *,
        output_filter: Sequence[str] = (),
        max_batch_size: int | None = None,
        concurrency: int = CONCURRENCY,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Run one signature: arrays (or nested lists) by input name in, arrays by output name out.

        Strings go in as str (sent as UTF-8) or bytes and come out as arrays of bytes.

        Args:
            model_name: under which the server has the model.
            inputs: arrays by the signature's input names.
            signature_name: None is the server's `serving_default`.
            version: of the model; None is the latest.
            version_label: that the server's configuration gives to a version; not beside `version`.
            output_filter: names of the outputs to return; empty returns all.
            max_batch_size: send inputs in requests of that many rows (dimension 0, the same for
                all inputs but scalars) and join the outputs in order.
            concurrency: how many of these requests are under way at once.
            timeout: seconds for all of it; None takes the client's.

        Returns:
            Arrays by output name.

        Raises:
            StatusError: the server refused the request, or did not answer; `.code` says which, and
                with `max_batch_size` the text names the rows.
            ServingError: an input that is no tensor, or both `version` and `version_label`.
        """
        model = ModelChoice(model_name, signature_name, version, version_label)
        deadline = self._deadline(timeout)
        arrays = requests.input_arrays(inputs)
        if max_batch_size is None:
            return await self._run(requests.predict(model, arrays, output_filter), deadline)

        chunks = batching.split(arrays, max_batch_size, concurrency)
        failed: list[tuple[Chunk, ServingError]] = []

        async def send(chunk: Chunk) -> Answer:
            # The answers are of no use once one is missing.
            if not failed:
                try:
                    call = requests.predict(model, chunk.inputs, output_filter)
                    return await self._run(call, deadline)
                except ServingError as error:
                    failed.append((chunk, error))
            return {}

        answers = await self._gather(send, chunks, concurrency)
        if failed:
            raise batching.failure(chunks, failed)
        return batching.join(chunks, answers)

    async def classify(
        self: BaseClient,
        model_name: str,
        examples: Sequence[Row],
        signature_name: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        *,
        context: Row | None = None,
        timeout: float | None = None,
    ) -> list[list[ClassScore]]:
        """Give the classes of each example, in the order in which the model gives them.

        Args:
            model_name: as for `predict`.
            examples: rows, feature name -> str, bytes, number, or a list or array of them.
            signature_name: as for `predict`.
            version: as for `predict`.
            version_label: as for `predict`.
            context: features that all rows have.
            timeout: as for `predict`.
        """
        model = ModelChoice(model_name, signature_name, version, version_label)
        return await self._run(requests.classify(model, examples, context), self._deadline(timeout))

    async def regress(
        self: BaseClient,
        model_name: str,
        examples: Sequence[Row],
        signature_name: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        *,
        context: Row | None = None,
        timeout: float | None = None,
    ) -> np.ndarray:
        """Give the value of each example, float32 [examples]. Arguments as for `classify`."""
        model = ModelChoice(model_name, signature_name, version, version_label)
        return await self._run(requests.regress(model, examples, context), self._deadline(timeout))

    async def multi_inference(
        self: BaseClient,
        model_name: str,
        examples: Sequence[Row],
        methods: Mapping[str, str],
        version: int | None = None,
        version_label: str | None = None,
        *,
        context: Row | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Run several signatures on the same examples at once.

        Args:
            model_name: as for `predict`.
            examples: as for `classify`.
            methods: signature name -> "classify" or "regress".
            version: as for `predict`.
            version_label: as for `predict`.
            context: as for `classify`.
            timeout: as for `predict`.

        Returns:
            By signature name, what `classify` or `regress` returns.
        """
        model = ModelChoice(model_name, None, version, version_label)
        call = requests.multi_inference(model, examples, methods, context)
        return await self._run(call, self._deadline(timeout))

    async def model_metadata(
        self: BaseClient,
        model_name: str,
        version: int | None = None,
        version_label: str | None = None,
        *,
        timeout: float | None = None,
    ) -> ModelMetadata:
        """Give the signatures of a model with their inputs and outputs."""
        model = ModelChoice(model_name, None, version, version_label)
        return await self._run(requests.model_metadata(model), self._deadline(timeout))

    async def model_status(
        self: BaseClient,
        model_name: str,
        version: int | None = None,
        *,
        timeout: float | None = None,
    ) -> list[VersionStatus]:
        """List all versions of a model that the server knows, highest first, or the one asked for.

        Raises:
            StatusError: NOT_FOUND for a model without any version, or the server did not answer.
        """
        model = ModelChoice(model_name, None, version)
        return await self._run(requests.model_status(model), self._deadline(timeout))

    async def reload_config(
        self: BaseClient, models: str | Sequence[ServedModelConfig], *, timeout: float | None = None
    ) -> None:
        """Make the server serve exactly these models; return once new ones are available.

        Args:
            models: ModelConfigs, or the text of a models.config (a ModelServerConfig), which can
                say more.
            timeout: seconds; None takes the client's.
        """
        await self._run(requests.reload_config(models), self._deadline(timeout))

    async def is_healthy(self: BaseClient, *, timeout: float | None = None) -> bool:
        """Say whether the server answers, and serves if it has gRPC's health service.

        A server without the health service (TensorFlow Serving has it by flag only) opens its port
        when its models are loaded, so that an answer of any kind means health.
        """
        return not await _sickness(self, self._deadline(timeout))

    async def wait_until_ready(
        self: BaseClient, timeout: float = 60.0, model_name: str | None = None
    ) -> None:
        """Return once the server is healthy and, if one is named, the model is available.

        Raises:
            StatusError: DEADLINE_EXCEEDED, it was not within `timeout` seconds; the text says what
                was missing.
        """
        deadline = Deadline(timeout)
        while reason := await _unready(self, model_name, deadline):
            if deadline.remaining() <= POLL_SECONDS:
                raise StatusError(
                    Code.DEADLINE_EXCEEDED,
                    f"The model server at {self.address} was not ready within {timeout:g} s: "
                    f"{reason.removesuffix('.')}.",
                )
            await self._sleep(POLL_SECONDS)


async def _sickness(client: BaseClient, deadline: Deadline) -> str:
    """Why a server does not serve; "" if it does."""
    try:
        healthy = await client._run(requests.health(), deadline, RetryPolicy(attempts=1))
    except StatusError as error:
        if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            return error.message
        if error.code == Code.UNIMPLEMENTED:
            return ""
        raise
    return "" if healthy else "it says that it does not serve"


async def _unready(client: BaseClient, model_name: str | None, deadline: Deadline) -> str:
    """Why a server or a model of it cannot be queried yet; "" if it can."""
    if sickness := await _sickness(client, deadline):
        return sickness
    if model_name is None:
        return ""
    try:
        versions = await client._run(requests.model_status(ModelChoice(model_name)), deadline)
    except StatusError as error:
        if error.code in (Code.NOT_FOUND, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            return error.message
        raise
    if any(one.state == "AVAILABLE" for one in versions):
        return ""
    states = ", ".join(
        f"version {one.version} {one.state}" + (f" ({one.error})" if one.error else "")
        for one in versions
    )
    return f"no version of model {model_name} is available: {states}"
