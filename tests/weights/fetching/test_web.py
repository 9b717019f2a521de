"""Without a network an attempt costs little, once; proxies are asked; nothing leaves protection."""

import http.client
import io
import time
import urllib.error
import urllib.request

import pytest

from mnasnet_deploy.errors import MnasnetError, NotReadyError
from mnasnet_deploy.weights.catalog import checkpoints
from mnasnet_deploy.weights.web import TransferError, Web, _Redirects

pytestmark = pytest.mark.slow

A_WHOLE_ATTEMPT_AND_SLACK_S = 1.5


def _took_s(function):
    start = time.monotonic()
    function()
    return time.monotonic() - start


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("jobs", [1, 4])
def test_a_network_that_swallows_everything_costs_one_attempt(
    make_fetcher, black_hole, jobs, scheme, hasty
):
    url = black_hole.replace("http", scheme)
    fetcher = make_fetcher(base_url=url, limits=hasty)
    found = []
    took_s = _took_s(lambda: found.extend(fetcher.fetch_all(checkpoints()[:8], jobs=jobs)))
    assert took_s < A_WHOLE_ATTEMPT_AND_SLACK_S
    for outcome in found:
        assert isinstance(outcome.error, NotReadyError)
        assert "cannot reach 127.0.0.1 (no answer within 0.3 s)" in str(outcome.error)
        assert "--base-url" in str(outcome.error)


def test_several_hosts_that_swallow_everything_cost_one_attempt_together(black_hole, hasty):
    web = Web(hasty)
    names = ("127.0.0.1", "127.1", "127.0.1", "localhost")
    hosts = [black_hole.replace("127.0.0.1", name) for name in names]

    def ask():
        for host in hosts:
            with pytest.raises(NotReadyError, match="cannot reach"):
                web.open(f"{host}/x", {})

    assert _took_s(ask) < (len(hosts) - 1) * hasty.connect_s


def test_a_handshake_that_never_ends_is_given_up(make_fetcher, checkpoint, silent_port, hasty):
    fetcher = make_fetcher(base_url=f"https://127.0.0.1:{silent_port}", limits=hasty)
    found = []
    took_s = _took_s(lambda: found.extend(fetcher.fetch_all([checkpoint])))
    assert took_s < A_WHOLE_ATTEMPT_AND_SLACK_S
    assert "no answer within 0.3 s" in str(found[0].error)


def test_a_server_that_says_nothing_is_asked_three_times(
    make_fetcher, checkpoint, silent_port, hasty
):
    fetcher = make_fetcher(base_url=f"http://127.0.0.1:{silent_port}", limits=hasty)
    with pytest.raises(NotReadyError, match=r"no answer, 3 times in a row; try again later"):
        fetcher.fetch(checkpoint)


def test_a_closed_port_is_said_at_once(make_fetcher, checkpoint, closed_port):
    fetcher = make_fetcher(base_url=closed_port)
    with pytest.raises(NotReadyError, match=r"cannot reach 127\.0\.0\.1 \(Connection refused\)"):
        fetcher.fetch(checkpoint)


def test_an_unknown_host_is_said(make_fetcher, checkpoint):
    # No name server is asked for it: RFC 6761 keeps `.invalid` from existing, and a label may not
    # have more than 63 letters.
    fetcher = make_fetcher(base_url=f"http://{'x' * 64}.invalid")
    with pytest.raises(NotReadyError, match="cannot reach x"):
        fetcher.fetch(checkpoint)


def test_a_host_that_answered_once_is_asked_again_later(
    publisher, answer, make_fetcher, checkpoint, place, archive, hasty
):
    web = Web(hasty)
    publisher.serve(place, answer(content=archive))
    url = f"{publisher.url}{place}"
    web.open(url, {}).body.close()
    publisher.shutdown()
    publisher.server_close()
    for _ in range(2):
        with pytest.raises(TransferError, match=r"cannot reach 127\.0\.0\.1 any more"):
            web.open(url, {})


def test_a_host_that_hangs_takes_no_time_from_one_that_answers(
    publisher, answer, black_hole, hasty
):
    web = Web(hasty)
    publisher.serve("/x", answer(content=b"x"))
    web.open(f"{publisher.url}/x", {}).body.close()
    with pytest.raises(NotReadyError, match="no answer"):
        web.open(f"{black_hole}/x", {})
    web.open(f"{publisher.url}/x", {}).body.close()


# ---- proxies


def test_the_proxy_is_asked(
    publisher, answer, make_fetcher, checkpoint, archive, whole, monkeypatch
):
    monkeypatch.setenv("http_proxy", publisher.url)
    url = f"http://weights.invalid/mirror/{checkpoint.file}"
    publisher.serve(url, answer(content=archive))
    fetcher = make_fetcher(base_url="http://weights.invalid/mirror/")
    fetcher.fetch(checkpoint)
    assert [path for path, _ in publisher.requests] == [url]
    assert whole(fetcher.path(checkpoint), archive)


def test_no_proxy_is_asked_where_none_is_wanted(
    publisher, answer, make_fetcher, checkpoint, place, archive, closed_port, monkeypatch
):
    monkeypatch.setenv("http_proxy", closed_port)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    publisher.serve(place, answer(content=archive))
    assert make_fetcher().fetch(checkpoint).status == "fetched"


def test_a_proxy_that_refuses_is_said(publisher, make_fetcher, checkpoint, monkeypatch):
    monkeypatch.setenv("https_proxy", publisher.url)
    fetcher = make_fetcher(base_url="https://weights.invalid")
    with pytest.raises(NotReadyError, match=r"407 Proxy Authentication Required.*HTTPS_PROXY"):
        fetcher.fetch(checkpoint)
    assert [path for path, _ in publisher.requests] == ["weights.invalid:443"]


def test_a_proxy_that_swallows_everything_costs_one_attempt(
    make_fetcher, checkpoint, black_hole, monkeypatch, hasty
):
    monkeypatch.setenv("https_proxy", black_hole)
    fetcher = make_fetcher(base_url="https://weights.invalid", limits=hasty)
    found = []
    took_s = _took_s(lambda: found.extend(fetcher.fetch_all(checkpoints()[:4], jobs=2)))
    assert took_s < A_WHOLE_ATTEMPT_AND_SLACK_S
    assert all("cannot reach 127.0.0.1" in str(outcome.error) for outcome in found)


# ---- redirects


def _redirect(start, target):
    body = io.BytesIO()
    return _Redirects().redirect_request(
        urllib.request.Request(start), body, 302, "Found", http.client.HTTPMessage(), target
    )


def test_a_protected_connection_stays_protected():
    for start, target in [
        ("https://a.invalid/x", "https://b.invalid/y"),
        ("http://a.invalid/x", "http://b.invalid/y"),
        ("http://a.invalid/x", "https://b.invalid/y"),
    ]:
        assert _redirect(start, target).full_url == target
    for target in ("http://b.invalid/y", "ftp://b.invalid/y"):
        with pytest.raises(urllib.error.HTTPError, match="unsafe redirect") as caught:
            _redirect("https://a.invalid/x", target)
        caught.value.close()


def test_a_redirect_to_another_kind_of_address_is_one_line(publisher, answer, hasty):
    publisher.serve("/x", answer(status=302, headers={"Location": "ftp://127.0.0.1/x"}))
    with pytest.raises(MnasnetError, match=r"redirects to an unprotected address \(302\)"):
        Web(hasty).open(f"{publisher.url}/x", {})
