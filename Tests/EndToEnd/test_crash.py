"""The last words of a program that has broken one of its own rules."""

import signal
import subprocess

from harness.configuration import status

def test_a_crash_says_where_it_was(broker, run_agent, program):
    agent = run_agent(broker.port, status("1s", load={"read": "loadavg:1"}))
    agent.wait_connected()
    agent.signal(signal.SIGILL)
    assert agent.wait_end() == -signal.SIGILL
    line = agent.wait_log("error", "agent", "crashed", signal="SIGILL")
    # In the middle of the file's code, and not an address of this process.
    sizes = subprocess.run(["size", program.command[-1]], capture_output=True, text=True, check=True).stdout
    code_end = int(sizes.splitlines()[1].split()[0]) + 65536
    assert 0 < int(line.fields["at"], 16) < code_end, line.text
