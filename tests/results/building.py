"""Records for tests: whole ones, with only what a test is about said."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from mnasnet_deploy.results.accuracy import (
    Accuracy,
    Agreement,
    EvaluationData,
    Published,
    Share,
)
from mnasnet_deploy.results.record import (
    Artifact,
    Conditions,
    DeviceInfo,
    Estimate,
    Launch,
    Record,
    Settings,
)

MIDNIGHT = datetime(2026, 5, 17, tzinfo=timezone.utc)

HOST = DeviceInfo(
    kind="host",
    name="AMD EPYC 7B13",
    os="Debian 12",
    cpu="AMD EPYC 7B13",
    cores=2,
    memory_mib=7950,
    runtime="ai-edge-litert 2.3.0",
)
PHONE = replace(
    HOST,
    kind="android",
    name="Pixel 1",
    os="Android 10",
    cpu="MSM8996",
    cores=4,
    runtime="benchmark_model 2.16",
)
STAND_IN = replace(PHONE, kind="software-phone", name="Pixel 1 (software phone)")


def sha256_of(text: str) -> str:
    """The hash of a file with this content."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def make_record(
    *,
    network: str = "mnasnet-a1",
    multiplier: str = "0.5",
    resolution: int = 160,
    scheme: str = "int8",
    file: str | None = None,
    content: str = "first",
    minute: int = 0,
    median_ms: float = 1.52,
    device: DeviceInfo = HOST,
    threads: int = 1,
    delegate: str = "xnnpack",
    cpus: tuple[int, ...] = (),
    mode: str = "",
    prepared: bool = False,
    allowed: tuple[str, ...] = (),
    verdict: str = "valid",
    reasons: tuple[str, ...] = (),
    estimated: bool = True,
    **artifact: Any,
) -> Record:
    """A record of one measurement, `minute` minutes after midnight."""
    name = f"{network}_{multiplier}_{resolution}_{scheme}.tflite" if file is None else file
    time = MIDNIGHT + timedelta(minutes=minute)
    samples = (median_ms - 0.01, median_ms, median_ms + 0.01)
    facts: dict[str, Any] = {"classes": 1000, "weights": "random (seed 0)", "size_bytes": 5}
    return Record(
        id=f"{time:%Y%m%dt%H%M%S}000-{sha256_of(f'{name}{content}{device}{threads}')[:8]}",
        time=time.isoformat(),
        tool="mnasnet-deploy 0.1.0",
        campaign=f"{time:%Y%m%dt%H%M%S}000-00000000",
        artifact=Artifact(
            file=name,
            sha256=sha256_of(content),
            network=network,
            multiplier=multiplier,
            resolution=resolution,
            scheme=scheme,
            **{**facts, **artifact},
        ),
        device=device,
        settings=Settings(
            profile=mode or ("host" if device.kind == "host" else "stock"),
            threads=threads,
            delegate=delegate,
            cpus=cpus,
            warmup_runs=5,
            warmup_ms=1000.0,
            runs=50,
            min_ms=2000.0,
            launches=10,
            max_launches=30,
            seed=1,
            prepared=prepared,
            allowed=allowed,
        ),
        before=Conditions(time=time.isoformat()),
        after=Conditions(time=time.isoformat(), load=0.1, facts=("on mains",)),
        launches=(
            Launch(
                block=0,
                position=0,
                init_ms=12.5,
                first_ms=median_ms * 2,
                samples_ms=samples,
                median_ms=median_ms,
                p95_ms=samples[-1],
            ),
        ),
        estimate=Estimate(
            median_ms=median_ms,
            low_ms=round(median_ms - 0.02, 9),
            high_ms=round(median_ms + 0.03, 9),
            coverage=0.979,
            launches=10,
        )
        if estimated
        else None,
        peak_memory_mib=21.5,
        verdict=verdict,  # type: ignore[arg-type]
        reasons=reasons,
    )


def make_accuracy(
    *,
    correct: int = 68,
    images: int = 100,
    network: str = "mnasnet-a1",
    multiplier: str = "0.5",
    resolution: int = 224,
    scheme: str = "int8",
    file: str | None = None,
    content: str = "first",
    minute: int = 0,
    data: str = "val",
    publisher: str = "official",
    published: tuple[float, float | None] | None = None,
    only_this: int | None = None,
    only_other: int = 0,
    reasons: tuple[str, ...] = (),
    **artifact: Any,
) -> Accuracy:
    """An accuracy of one file, `minute` minutes after midnight."""
    name = f"{network}_{multiplier}_{resolution}_{scheme}.tflite" if file is None else file
    time = MIDNIGHT + timedelta(minutes=minute)
    facts: dict[str, Any] = {"classes": 1000, "weights": "mnasnet-a1-050.tgz", "size_bytes": 5}
    agreement = None
    if only_this is not None:
        agreement = Agreement(
            file="float32.tflite",
            sha256=sha256_of("float32"),
            same_percent=97.5,
            both=correct - only_this,
            only_this=only_this,
            only_other=only_other,
            neither=images - correct - only_other,
            p_value=0.7265625,
            test="exact",
        )
    return Accuracy(
        id=f"{time:%Y%m%dt%H%M%S}000-{sha256_of(f'{name}{content}{data}')[:8]}",
        time=time.isoformat(),
        tool="mnasnet-deploy 0.1.0",
        artifact=Artifact(
            file=name,
            sha256=sha256_of(content),
            network=network,
            multiplier=multiplier,
            resolution=resolution,
            scheme=scheme,
            **{**facts, **artifact},
        ),
        publisher=publisher,
        preprocessing="centre S/(S+32), tf1-bilinear",
        data=EvaluationData(
            name=data,
            digest=sha256_of(data),
            images=images,
            found=images,
            unreadable=0,
            unreadable_names=(),
            labels=1000,
        ),
        top1=make_share(correct, images),
        top5=make_share(min(images, correct + 10), images),
        agreement=agreement,
        published=published and Published(top1=published[0], top5=published[1], source="README"),
        runtime="ai-edge-litert 2.3.0",
        machines=("AMD EPYC 7B13",),
        cpu_ms=10.5,
        reasons=reasons,
    )


def make_share(correct: int, images: int) -> Share:
    """A share with an interval of two standard errors."""
    share = correct / images
    half = 2 * (share * (1 - share) / images) ** 0.5
    return Share(
        correct=correct,
        percent=100 * share,
        low=max(0.0, 100 * (share - half)),
        high=min(100.0, 100 * (share + half)),
    )
