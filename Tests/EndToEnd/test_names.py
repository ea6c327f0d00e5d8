"""Looking up the server's name, and trying all of its addresses.

These tests need port 53, /etc/resolv.conf and addresses of their own, so they run themselves once more in new network
and mount namespaces.
"""

import concurrent.futures
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from harness import packets
from harness.configuration import seldom, status
from harness.names import AAAA, NO_SUCH_NAME, REFUSED, SERVER_FAILURE, NameServer
from harness.waiting import DEADLINE, wait_until

INSIDE = "MOTE_TEST_NAMESPACE"
PARTS = 4
pytestmark = pytest.mark.native
only_inside = pytest.mark.skipif(INSIDE not in os.environ, reason="runs inside the namespaces")
NAME = "ab12cd.messaging.example.test"


@pytest.mark.seconds(11)
@pytest.mark.skipif(INSIDE in os.environ, reason="this is the inside")
def test_names_in_namespaces_of_our_own(request, pytestconfig):
    namespaces = ["unshare", "--net", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    options = [f"--{name}={value}" for name in ("arch", "mote") if (value := pytestconfig.getoption(name))]
    options += ["--deselect", request.node.nodeid]
    run = " ".join(["ip link set lo up && exec", sys.executable, "-B -m pytest -q -rs", *options, __file__])

    def run_part(number):
        return subprocess.run([*namespaces, "sh", "-c", f"{run} --part={number}/{PARTS}"],
                              env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, timeout=140, check=False)

    # They wait for name servers that do not answer: each part in namespaces of its own.
    with concurrent.futures.ThreadPoolExecutor(PARTS) as pool:
        for done in pool.map(run_part, range(1, PARTS + 1)):
            assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def resolve(tmp_path):
    """Makes /etc/resolv.conf name these servers, and /etc/hosts have these lines."""
    mounted = []

    def put(path, text):
        source = tmp_path / pathlib.Path(path).name
        source.write_text(text)
        if path not in mounted:
            subprocess.run(["mount", "--bind", source, path], check=True)
            mounted.append(path)

    def set_up(*servers, hosts="", more=""):
        put("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in servers) + more)
        put("/etc/hosts", f"127.0.0.1 localhost\n{hosts}")
    yield set_up
    for path in mounted:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def serve_names(closing):
    def serve(addresses, **options):
        server = NameServer(addresses, **options)
        closing.append(server)
        return server
    return serve


def named(port, host=NAME):
    return port, {"server": {"host": host}, **status(seldom(), 0, a="constant:1")}


@only_inside
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["127.0.0.2", "127.0.0.3", "127.0.0.1"],
                                       ["::2", "127.0.0.2", "127.0.0.1"]], ids=" ".join)
def test_every_address_is_tried(start_peer, run_agent, resolve, serve_names, addresses):
    resolve("127.0.0.1")
    serve_names({NAME: addresses})
    peer = start_peer(address=addresses[-1])
    agent = run_agent(*named(peer.port))
    peer.accept().expect(packets.CONNECT)
    line = agent.wait_connected()
    assert addresses[-1] in line.fields["address"], line.text
    assert len(agent.find("info", "link", "connecting")) == 1, "all addresses belong to one attempt"


@only_inside
@pytest.mark.seconds(10)
def test_an_address_that_does_not_answer_costs_seconds_only(start_peer, run_agent, resolve, serve_names):
    # A listener whose queue is full lets the kernel drop every further attempt, as a dead network does.
    deaf = socket.socket()
    deaf.bind(("127.0.0.2", 0))
    deaf.listen(0)
    port = deaf.getsockname()[1]
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.2", port))
    time.sleep(0.1)
    resolve("127.0.0.1")
    serve_names({NAME: ["127.0.0.2", "127.0.0.1"]})
    peer = start_peer(port=port)
    # The kernel would try for two minutes.
    run_agent(*named(port)).wait_connected()
    assert peer.accept()


@only_inside
def test_a_name_that_does_not_exist_is_told(run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    server = serve_names({})
    run_agent(*named(1883)).wait_log("warning", "link", "failed", reason="name-not-found")
    assert NAME in server.queries


@only_inside
@pytest.mark.seconds(10)
@pytest.mark.parametrize("conduct", ["silent", SERVER_FAILURE, "nobody"])
def test_a_name_server_that_is_no_help_is_told_and_blocks_nothing(run_agent, resolve, serve_names, conduct):
    resolve("127.0.0.1")
    if conduct != "nobody":
        serve_names({NAME: ["127.0.0.1"]}, ipv4=conduct, ipv6=conduct)
    agent = run_agent(*named(1883))
    agent.wait_log("info", "link", "connecting")
    agent.wait_log("warning", "link", "failed", reason="name-timeout")
    agent.reload()
    agent.wait_log("info", "agent", "reloaded")


@only_inside
@pytest.mark.parametrize("conduct", ["silent", SERVER_FAILURE, NO_SUCH_NAME, REFUSED])
@pytest.mark.parametrize(("address", "other"), [("127.0.0.1", "ipv6"), ("::1", "ipv4")])
def test_one_family_that_is_answered_is_enough(start_peer, run_agent, resolve, serve_names, address, other, conduct):
    # Many routers know A only, and answer for AAAA whatever comes to their mind.
    resolve("127.0.0.1")
    serve_names({NAME: [address]}, **{other: conduct})
    peer = start_peer(address=address)
    assert address in run_agent(*named(peer.port)).wait_connected().fields["address"]


@only_inside
@pytest.mark.seconds(3)
def test_what_nobody_could_tell_outweighs_what_does_not_exist(run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    serve_names({}, ipv4="silent", ipv6=NO_SUCH_NAME)
    run_agent(*named(1883)).wait_log("warning", "link", "failed", reason="name-timeout")


@only_inside
@pytest.mark.seconds(7)
def test_a_slow_answer_is_waited_for(start_peer, run_agent, resolve, serve_names):
    # Longer than the C library would by itself.
    resolve("127.0.0.1")
    serve_names({NAME: ["127.0.0.1"]}, delay=6)
    peer = start_peer()
    agent = run_agent(*named(peer.port))
    agent.wait_connected()
    assert not agent.find("warning", "link", "failed")


@only_inside
@pytest.mark.seconds(10)
def test_a_look_up_that_was_given_up_leaves_no_zombie(run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    serve_names({NAME: ["127.0.0.1"]}, ipv4="silent", ipv6="silent")
    agent = run_agent(*named(1883))
    children = pathlib.Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
    agent.wait_log("info", "link", "connecting")
    wait_until(children.read_text, DEADLINE, "they are looking it up")
    agent.wait_log("warning", "link", "failed")
    wait_until(lambda: not children.read_text(), DEADLINE, "all have gone")
    assert len(agent.find("info", "link", "connecting")) == 1, "not before the next attempt"


@only_inside
@pytest.mark.seconds(2)
def test_the_later_family_is_tried_where_the_earlier_leads_nowhere(start_peer, run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    server = serve_names({NAME: ["127.0.0.2", "::1"]}, ipv6="silent")
    peer = start_peer(address="::1")
    agent = run_agent(*named(peer.port))
    wait_until(lambda: server.queries.count(NAME) >= 3, DEADLINE, "one question has been asked again")
    server.conduct[AAAA] = 0
    assert "::1" in agent.wait_connected().fields["address"]
    assert not agent.find("warning", "link", "failed")


@only_inside
def test_all_of_many_addresses_are_tried(start_peer, run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    serve_names({NAME: [f"127.0.0.{number}" for number in range(2, 26)] + ["127.0.1.1"]})
    peer = start_peer(address="127.0.1.1")
    assert "127.0.1.1" in run_agent(*named(peer.port)).wait_connected().fields["address"]


@only_inside
def test_an_end_does_not_wait_for_the_name_server(run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    serve_names({NAME: ["127.0.0.1"]}, ipv4="silent", ipv6="silent")
    agent = run_agent(*named(1883))
    agent.wait_log("info", "link", "connecting")
    assert agent.stop() == 0
    assert not agent.find("warning", "link", "failed"), "it had given up before"


@only_inside
@pytest.mark.seconds(12)
def test_the_resolvers_configuration_is_read_anew(start_peer, run_agent, resolve, serve_names):
    resolve("127.0.0.9")
    serve_names({NAME: ["127.0.0.1"]})
    peer = start_peer()
    agent = run_agent(*named(peer.port))
    agent.wait_log("warning", "link", "failed", reason="name-timeout")
    resolve("127.0.0.1")
    agent.wait_connected()


@only_inside
def test_names_of_the_hosts_file_need_no_server(start_peer, run_agent, resolve):
    resolve("127.0.0.9", hosts="127.0.0.1 broker.local\n")
    peer = start_peer()
    run_agent(*named(peer.port, "broker.local")).wait_connected()


@only_inside
@pytest.mark.parametrize("hosts", ["127.0.0.1 another broker.local # of ours\n",
                                   f"{'#' * 2000}\n127.0.0.1\tbroker.local"], ids=["second", "last"])
def test_the_hosts_file_may_be_written_in_many_ways(start_peer, run_agent, resolve, hosts):
    resolve("127.0.0.9", hosts=hosts)
    peer = start_peer()
    run_agent(*named(peer.port, "broker.local")).wait_connected()


@only_inside
def test_a_short_name_is_looked_up_in_the_domains_of_the_search_list(start_peer, run_agent, resolve, serve_names):
    resolve("127.0.0.9", "127.0.0.1", more="# of ours\nsearch nowhere.test messaging.example.test\noptions ndots:2\n")
    server = serve_names({NAME: ["127.0.0.1"]})
    peer = start_peer()
    run_agent(*named(peer.port, NAME.split(".")[0])).wait_connected()
    assert server.queries[0] == "ab12cd.nowhere.test"


@only_inside
def test_an_answer_too_large_for_a_datagram_is_asked_for_again(start_peer, run_agent, resolve, serve_names):
    resolve("127.0.0.1")
    serve_names({NAME: ["127.0.0.1"]}, cuts=True)
    peer = start_peer()
    run_agent(*named(peer.port)).wait_connected()
