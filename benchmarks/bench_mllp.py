"""The HL7 receiver: messages a second over eight connections, each durable before its answer.

Each provider runs in a process of its own and is fed by the same light sender in another: one
message in flight per connection, as MLLP has it. Peers in the same run: python-hl7's asyncio server
(`hl7.mllp`) as its documentation shows it, which parses each message for its answer and here also
syncs it to a plain file before; the same with its fastest reading (`readblock`, a fixed answer).
Latency is from sending a message to having its answer, at the sender.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench_journey import machine
from benchmarks.report import write_report
from pipelines.receivers.hl7_receiver import Hl7Listening, Hl7Receiver
from pipelines.receivers.listeners import Listener
from pipelines.receivers.spool import Limits, SpoolWriter

KEY = base64.urlsafe_b64encode(b"b" * 32)
CONNECTIONS = (1, 8)
# Messages of each connection; a slow peer gets fewer, its rate is per message.
MESSAGES, SLOW_MESSAGES = 4_000, 500
QUICK_SHARE = 0.25
REPEATS = 3
LARGEST = 16 << 20
AIMS = {"durable_messages_a_second": 4000.0}
PROVIDERS = {"ours": MESSAGES, "python_hl7_mllp": SLOW_MESSAGES, "python_hl7_readblock": MESSAGES}


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the messages, once")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--connections", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        _serve(arguments.serve, arguments.folder)
        return
    if arguments.send is not None:
        _send(arguments.send, arguments.connections, arguments.count)
        return
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), is_quick=arguments.quick)
    write_report(document, as_json=arguments.json)


def measure(folder: Path, *, is_quick: bool) -> dict[str, Any]:
    """Best run of REPEATS per provider and number of connections, with its latencies."""
    repeats, share = (1, QUICK_SHARE) if is_quick else (REPEATS, 1.0)
    results: list[dict[str, Any]] = []
    rates: dict[tuple[str, int], float] = {}
    for connections in CONNECTIONS:
        # Providers take turns, so that a busy moment of the machine falls on all of them.
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in PROVIDERS}
        for _ in range(repeats):
            for name, count in PROVIDERS.items():
                runs[name].append(_run(name, connections, round(count * share), folder))
        for name, found in runs.items():
            best = max(found, key=lambda run: run["rate"])
            rates[name, connections] = best["rate"]
            label = f"{name}_{connections}_connections"
            units = {"rate": "messages/s", "p50": "ms", "p99": "ms", "cpu": "us/message"}
            results += [
                {"name": f"{label}_{what}", "unit": unit, "value": round(best[what], 2)}
                for what, unit in units.items()
            ]
            slowest = min(run["rate"] for run in found)
            results.append(
                {"name": f"{label}_slowest", "unit": "messages/s", "value": round(slowest, 1)}
            )
    most = CONNECTIONS[-1]
    ours = rates["ours", most]
    ratios = {
        "ours_over_python_hl7_mllp": ours / rates["python_hl7_mllp", most],
        "ours_over_python_hl7_readblock": ours / rates["python_hl7_readblock", most],
        "eight_connections_over_one": ours / rates["ours", 1],
    }
    return {
        "machine": machine(),
        "message_bytes": len(_messages()[0]),
        "messages_per_connection": {n: round(count * share) for n, count in PROVIDERS.items()},
        "repeats": repeats,
        "results": results,
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "aims": AIMS,
    }


def _messages() -> list[bytes]:
    """A verified report and an order of a usual size, in MLLP frames; MSH-15 empty: AA."""
    text = "Liver, spleen \\T\\ pancreas appear normal. No free fluid. Mild degenerative change."
    head = "MSH|^~\\&|RIS|RMC|WAREHOUSE|NET|20260520161006||{}|ZZ{:08d}|P|2.4||||||UNICODE UTF-8"
    patient = [
        "PID|1||A0012345^^^RMC^MR~9997004019^^^NHS^NH||TESTPATIENT^HARTLEY^^^MS||19610203|F",
        "PV1|1|O|CLIN4^^^RMC|||||C9990001^REFERRER^EXAMPLE^^^DR|||||||||||V000417^^^RMC^VN",
        "ORC|RE|OC900417^EPR|A26000417^RIS||CM||||20260520161005|||C9990001^REFERRER^EXAMPLE^^^DR",
        "OBR|1|OC900417^EPR|A26000417^RIS|CABPVC^CT Abdomen \\T\\ pelvis with contrast^NICIP||"
        "20260512091400|20260519104731|20260519110312||||||20260512091520||C9990001^REFERRER^EXAMPLE"
        "^^^DR||A26000417||RMC01|RMCCT2|20260520161005||CT|F||^^^^^R",
    ]
    report = [
        f"OBX|{n}|TX|CABPVC&GDT^CT Abdomen^NICIP||{text}||||||F|||20260520160958" for n in range(6)
    ]
    messages = []
    for number, (kind, body) in enumerate((("ORU^R01", [*patient, *report]), ("OMG^O19", patient))):
        content = "\r".join([head.format(kind, number), *body]) + "\r"
        messages.append(b"\x0b" + content.encode() + b"\x1c\r")
    return messages


# ------------------------------------------------------------ processes


def _run(name: str, connections: int, of_each: int, folder: Path) -> dict[str, float]:
    """Rate over all connections, latencies in ms, CPU microseconds of the provider a message."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        provider = _child("--serve", name, "--folder", own)
        try:
            port = _line(provider)
            sender = _child(
                "--send", port, "--connections", str(connections), "--count", str(of_each)
            )
            found = json.loads(_line(sender))
            sender.wait()
        finally:
            provider.terminate()
            output = provider.communicate()[0] or ""
    return found | {"cpu": float(output.split()[-1]) / (connections * of_each) * 1e6}


def _child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench_mllp", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _serve(name: str, folder: Path) -> None:
    """Be a provider until the process is ended; print the port, at the end the CPU seconds."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    port, end = _ours(folder) if name == "ours" else _python_hl7(name, folder)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    before = time.process_time()
    stop.wait()
    cpu = time.process_time() - before
    end()
    sys.stdout.write(f"{cpu}\n")


def _ours(folder: Path) -> tuple[int, Callable[[], None]]:
    spool = SpoolWriter(folder / "spool", KEY, limits=Limits(free_bytes=0))
    receiver = Hl7Receiver(spool, [Listener(0, "hl7_RMC")], Hl7Listening())
    receiver.start()

    def end() -> None:
        receiver.stop(grace=0)
        spool.close()

    return receiver.ports[0], end


def _python_hl7(name: str, folder: Path) -> tuple[int, Callable[[], None]]:
    """The server of python-hl7, in a thread of its own as ours is."""
    from hl7.mllp import start_hl7_server

    file = (folder / "messages.hl7").open("ab", buffering=0)
    loop = asyncio.new_event_loop()

    def store(content: bytes) -> None:
        file.write(content)
        os.fdatasync(file.fileno())

    async def by_message(reader: Any, writer: Any) -> None:
        while True:
            message = await reader.readmessage()
            store(str(message).encode())
            writer.writemessage(message.create_ack())
            await writer.drain()

    async def by_block(reader: Any, writer: Any) -> None:
        while True:
            content = await reader.readblock()
            store(content)
            control = content[:200].split(b"|", 10)[9]
            writer.writeblock(b"MSH|^~\\&|||||||ACK|1|P|2.4\rMSA|AA|" + control + b"\r")
            await writer.drain()

    serve = by_message if name == "python_hl7_mllp" else by_block

    async def until_the_end(reader: Any, writer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()

    listening = start_hl7_server(until_the_end, "127.0.0.1", 0, limit=LARGEST, encoding="utf-8")
    server = loop.run_until_complete(listening)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return server.sockets[0].getsockname()[1], file.close


def _send(port: int, connections: int, of_each: int) -> None:
    """Send with one message in flight per connection; print rate and latencies in milliseconds."""
    messages, poll = _messages(), select.epoll()
    opened, left, sent_at, answers = {}, {}, {}, {}
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(one.fileno(), select.EPOLLIN)
        opened[one.fileno()], left[one.fileno()], answers[one.fileno()] = one, of_each, b""
    latencies: list[float] = []
    began = time.perf_counter()
    for number, one in opened.items():
        sent_at[number] = time.perf_counter()
        one.sendall(messages[0])
    waiting = connections
    while waiting:
        for number, _ in poll.poll():
            answers[number] += opened[number].recv(1 << 16)
            if not answers[number].endswith(b"\x1c\r"):
                assert answers[number], "the provider closed the connection"
                continue
            now = time.perf_counter()
            assert b"|AA|" in answers[number], answers[number]
            answers[number] = b""
            latencies.append(now - sent_at[number])
            left[number] -= 1
            if not left[number]:
                waiting -= 1
                continue
            sent_at[number] = now
            opened[number].sendall(messages[left[number] % len(messages)])
    seconds = time.perf_counter() - began
    latencies.sort()
    found = {
        "rate": len(latencies) / seconds,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
