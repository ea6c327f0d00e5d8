import Bytes
import Foundation
import HostInterface
import LinuxHost
import TestSupport
import Testing

extension MachineTests {
  @Suite struct ProgramTests {
    let folder: TemporaryFolder
    let host: MachineHost

    init() throws {
      folder = try TemporaryFolder()
      host = try MachineHost()
    }

    /// Adds a shell script as the next command and starts it.
    func run(_ lines: String, slot: Int = 0, command: Int = 0, input: [UInt8] = []) throws {
      try host.add(try folder.script("script\(command)", lines))
      let start = host.start(slot: slot, command: command, input: input)
      try #require(start == .started)
    }

    @Test func givesInputAndTakesOutput() throws {
      defer { host.close() }
      try run("cat; echo and an error >&2; exit 3", input: Array("hello\n".utf8))
      let end = host.finish()
      #expect(end.state == .exited(3))
      #expect(end.output == "hello\nand an error\n")
    }

    @Test func largeInputNeedsNoReader() throws {
      defer { host.close() }
      let input = [UInt8](repeating: UInt8(ascii: "x"), count: 131_072)
      try run("exit 0", input: input)
      #expect(host.finish().state == .exited(0))
      try run("wc -c", command: 1, input: input)
      #expect(host.finish().output == "131072\n")
      try run("wc -c; sleep 0.1", command: 2)
      #expect(host.finish().output == "0\n")
    }

    @Test func inheritsNothing() throws {
      defer { host.close() }
      // A descriptor that whoever started us has left open.
      let leaked = dup(2)
      defer { Foundation.close(leaked) }
      try host.add("/usr/bin/env", name: "blink")
      #expect(host.start() == .started)
      let environment = host.finish().output.split(separator: "\n").sorted()
      #expect(
        environment == [
          "MOTE_COMMAND=blink", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ])
      #expect(host.start(variables: Array("MOTE_PARAM_a=b c\nd\0MOTE_PARAM_e=\0\0".utf8)) == .started)
      #expect(host.finish().output.hasSuffix("MOTE_COMMAND=blink\nMOTE_PARAM_a=b c\nd\nMOTE_PARAM_e=\n"))
      let most = (0..<HostLimits.programVariablesMax).map { "MOTE_PARAM_\($0)=x\0" }.joined() + "\0"
      #expect(host.start(variables: Array(most.utf8)) == .started)
      #expect(host.finish().output.split(separator: "\n").count == 2 + HostLimits.programVariablesMax)
      // A shell would block signals while it waits.
      try run("pwd; ls /proc/self/fd; exec grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status", command: 1)
      let lines = host.finish().output.split(separator: "\n").map(String.init)
      #expect(lines.first == "/")
      // 3 is the folder that ls reads.
      #expect(Array(lines[1...4]) == ["0", "1", "2", "3"])
      #expect(lines.contains("SigBlk:\t0000000000000000"))
      // Signal 32 belongs to the C library.
      #expect(
        lines.contains {
          $0.hasPrefix("SigIgn:\t00000000") && $0.suffix(8).first.map { "08".contains($0) } == true
            && $0.hasSuffix("0000000")
        })
      #expect(lines.count == 8)
    }

    @Test func hasASessionOfItsOwn() throws {
      defer { host.close() }
      try run("cat /proc/$$/stat; echo $$")
      let words = host.finish().output.split(whereSeparator: { $0 == " " || $0 == "\n" })
      let process = try #require(words.last)
      // proc(5): 5 is the process group, 6 the session, 7 the terminal.
      #expect(words[4] == process && words[5] == process && words[6] == "0")
    }

    @Test func saysWhatCannotBeExecuted() throws {
      defer { host.close() }
      try host.add("/no/such/program")
      try host.add(try folder.write("plain", "#!/bin/sh\n"))
      try host.add(try folder.script("nothing-known", "echo no", interpreter: ""))
      try host.add(folder.path)
      try host.add("bin/true")
      try host.add(try folder.script("no-interpreter", "", interpreter: "#!/no/such/interpreter\n"))
      try host.add("/bin/true")
      for command in 0..<6 where command != 4 {
        #expect(host.start(command: command) == .started, "command \(command)")
        #expect(host.finish().state == .notStarted(.notExecutable), "command \(command)")
      }
      #expect(host.start(command: 4) == .notExecutable, "it would depend on where we were started")
      #expect(host.start(command: 6) == .started, "the slot is free")
      #expect(host.finish().state == .exited(0))
      #expect(childStates(named: "mote-command").isEmpty)
    }

    @Test func tellsASignalFromAStatus() throws {
      defer { host.close() }
      try run("kill -SEGV $$")
      #expect(host.finish().state == .signalled(Int(SIGSEGV)))
    }

    @Test func keepsLittleOfALot() throws {
      defer { host.close() }
      try run("head -c 1000000 /dev/zero | tr '\\0' x; exit 5")
      let end = host.finish()
      #expect(end.state == .exited(5))
      #expect(end.output == String(repeating: "x", count: HostLimits.programOutputBytesMax))
    }

    @Test func aProgramThatNeverStopsWritingCostsLittle() throws {
      defer { host.close() }
      try run("exec yes")
      let noisy = host.finish(within: 0.5)
      #expect(noisy.state == .running)
      #expect(noisy.output.count == HostLimits.programOutputBytesMax)
      #expect(noisy.wakeups < 10, "\(noisy.wakeups) in half a second")
      host.host.stopProgram(slot: 0, forcibly: true)
      #expect(host.finish().state == .signalled(Int(SIGKILL)))
    }

    /// More than anyone wants is thrown away as fast as it comes, by someone else.
    @Test func muchOutputTakesNoLongerThanItsWriting() throws {
      defer { host.close() }
      func seconds(_ byteCount: Int, command: Int) throws -> Double {
        let start = Date()
        try run("head -c \(byteCount) /dev/zero", command: command)
        #expect(host.finish().state == .exited(0))
        return Date().timeIntervalSince(start)
      }
      let little = try seconds(1000, command: 0)
      let much = try seconds(20_000_000, command: 1)
      // At a full pipe every ten milliseconds it was three seconds.
      #expect(much - little < 1, "\(much) s, \(little) s for little")
    }

    /// A file system that does not answer holds up the program, not us.
    @Test func startingWaitsForNothing() throws {
      defer { host.close() }
      guard let files = try SlowFiles() else { return }
      defer { files.end() }
      try host.add(files.path + "/slow")
      files.freeze()
      let start = Date()
      #expect(host.start() == .started)
      // A fork, however busy the machine is; before, it waited for 250 ms.
      #expect(Date().timeIntervalSince(start) < 0.2)
      #expect(host.finish(within: 0.3).state == .running)
      host.host.stopProgram(slot: 0, forcibly: true)
      #expect(host.finish().state == .signalled(Int(SIGKILL)))
    }

    @Test func aProgramThatSaysNothingCostsNothing() throws {
      defer { host.close() }
      try run("exec >&- 2>&-; sleep 0.4; exit 4")
      let end = host.finish()
      #expect(end.state == .exited(4))
      #expect(end.wakeups <= 3)
    }

    @Test func stopsAllThatItStarted() throws {
      defer { host.close() }
      try run("sleep 1000 & echo $!; sleep 1000 & echo $!; wait")
      let started = host.finish(within: 0.5)
      #expect(started.state == .running)
      let grandchildren = started.output.split(separator: "\n").compactMap { pid_t($0) }
      #expect(grandchildren.count == 2)
      host.host.stopProgram(slot: 0, forcibly: false)
      #expect(host.finish().state == .signalled(Int(SIGTERM)))
      usleep(50_000)
      for process in grandchildren { #expect(!isRunning(process), "\(process)") }
    }

    /// A program that heeds the signal, and a child that does not.
    @Test func stopsChildrenThatDoNotHeedTheSignal() throws {
      defer { host.close() }
      try run("(trap '' TERM; while :; do sleep 0.05; done) & echo $!; trap 'exit 3' TERM; wait")
      let started = host.finish(within: 0.5)
      #expect(started.state == .running)
      let child = try #require(pid_t(started.output.split(separator: "\n").first ?? ""))
      host.host.stopProgram(slot: 0, forcibly: false)
      #expect(host.finish().state == .exited(3))
      for _ in 0..<100 where isRunning(child) { usleep(50_000) }
      #expect(!isRunning(child))
    }

    /// Sessions and groups of their own do not save children of a program, neither from its end nor from ours.
    @Test(arguments: ["its end", "its time", "our end"]) func nothingOutlivesTheProgram(what: String) throws {
      defer { if what != "our end" { host.close() } }
      let children = "setsid sh -c 'setsid sleep 1000 & echo $! $$; wait' & (setsid sleep 1001 & echo $!)"
      try run("\(children); sleep 0.2; \(what == "its end" ? "exit 3" : "wait; sleep 1000")")
      let end = host.finish(within: what == "its end" ? 5 : 0.5)
      let processes = end.output.split(whereSeparator: { $0.isWhitespace }).compactMap { pid_t($0) }
      #expect(processes.count == 3)
      if what == "its end" { #expect(end.state == .exited(3)) }
      if what == "its time" {
        host.host.stopProgram(slot: 0, forcibly: false)
        #expect(host.finish().state == .signalled(Int(SIGTERM)))
      }
      if what == "our end" { host.close() }
      // They have ended before the program's end is told.
      for process in processes { #expect(!isRunning(process), "\(process)") }
      #expect(childStates(named: "mote-command").isEmpty)
    }

    @Test func asksPolitelyFirst() throws {
      defer { host.close() }
      try run("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
      #expect(host.finish(within: 0.3).output == "ready\n")
      host.host.stopProgram(slot: 0, forcibly: false)
      let polite = host.finish()
      #expect(polite.state == .exited(7))
      #expect(polite.output.hasSuffix("bye\n"), "its shell may tell that its child was ended, too")
      try run("trap '' TERM; echo ready; while :; do sleep 0.05; done", command: 1)
      #expect(host.finish(within: 0.3).output == "ready\n")
      host.host.stopProgram(slot: 0, forcibly: false)
      #expect(host.finish(within: 0.2).state == .running)
      host.host.stopProgram(slot: 0, forcibly: true)
      #expect(host.finish().state == .signalled(Int(SIGKILL)))
    }

    @Test func aChildThatKeepsTheOutputOpenDoesNotKeepTheSlot() throws {
      defer { host.close() }
      let start = Date()
      try run("sleep 3 & echo started; exit 0")
      let end = host.finish()
      #expect(end.state == .exited(0))
      #expect(end.output == "started\n")
      #expect(Date().timeIntervalSince(start) < 2)
      #expect(host.start() == .started, "the slot is free")
      _ = host.finish()
    }

    @Test func runsSeveralAtOnce() throws {
      defer { host.close() }
      for slot in 0..<HostLimits.programsMax {
        try run("sleep 0.3; echo \(slot); exit \(slot)", slot: slot, command: slot)
      }
      let start = Date()
      for slot in 0..<HostLimits.programsMax {
        let end = host.finish(slot: slot)
        #expect(end.state == .exited(slot))
        #expect(end.output == "\(slot)\n")
      }
      #expect(Date().timeIntervalSince(start) < 1)
      #expect(childStates(named: "mote-command").isEmpty)
    }

    @Test func aReloadLetsProgramsEnd() throws {
      defer { host.close() }
      try run("sleep 0.3; echo done")
      var arena = makeArena()
      let plan = HostPlan(
        sensorCount: 0, sensorTextBytes: 0, commandCount: 1, commandTextBytes: 100, sourceTimeout: .seconds(1))
      try host.host.replacePlan(plan, from: &arena)
      #expect(host.finish().output == "done\n")
      try host.add("/bin/true")
      #expect(host.start() == .started)
      #expect(host.finish().state == .exited(0))
    }

    @Test func nothingOutlivesTheHost() throws {
      try run("trap '' TERM; sleep 1000 & echo $$ $!; wait")
      let processes = host.finish(within: 0.3).output.split(whereSeparator: { $0.isWhitespace }).compactMap {
        pid_t($0)
      }
      #expect(processes.count == 2)
      let start = Date()
      host.close()
      #expect(Date().timeIntervalSince(start) < 1)
      usleep(20_000)
      for process in processes { #expect(!isRunning(process)) }
      #expect(waitpid(processes[0], nil, WNOHANG) == -1, "it has been collected")
    }

    @Test func refusesMoreCommandsThanPlanned() throws {
      defer { host.close() }
      for _ in 0..<16 { try host.add("/bin/true") }
      let path = Array("/bin/true".utf8)
      let isAdded = host.host.addProgram(path: path.span, commandName: path.span)
      #expect(!isAdded)
    }
  }
}

/// Whether a process that is not our child runs; one that waits to be collected does not.
private func isRunning(_ process: pid_t) -> Bool {
  guard let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
    let close = stat.lastIndex(of: ")")
  else { return false }
  return stat[stat.index(close, offsetBy: 2)] != "Z"
}
