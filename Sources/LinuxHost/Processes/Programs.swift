// Programs that commands start: no shell, nothing inherited, everything bounded.

import Bytes
import CLinux
import HostInterface

/// What the system has to do with one program. How far its end has been asked for is the caller's account.
private struct Program: BitwiseCopyable {
  /// Its keeper, which ends when the program and all that it has left have ended; 0 without one.
  var keeper: pid_t = 0
  /// What waitpid(2) said of both once they had ended; the last output has not been collected then.
  var endStatus: Int32?
  /// What tells at the end whether it could be executed.
  var report: Int32 = -1
  /// Where its output comes, or -1 once there will be no more that anybody wants.
  var output: Int32 = -1
  /// How much of its output has been kept.
  var keptCount = 0

  var isRunning: Bool { keeper > 0 && endStatus == nil }

  /// Has the keeper do something.
  func tell(_ what: Int) { kill(keeper, Int32(truncatingIfNeeded: what)) }
}

/// Bounds of how programs are treated.
enum ProgramLimits {
  /// How often output is taken in one turn, 4096 bytes each: a full pipe, no more.
  static var chunksMax: Int { 16 }
}

/// The configured programs and those of them that run.
struct Programs: ~Copyable {
  private let pinned = Pinned()
  private struct Command: BitwiseCopyable {
    let pathStart: Int
    let variableStart: Int
  }

  private var commands: FixedArray<Command>
  /// Zero-terminated: for each command its path and `MOTE_COMMAND=NAME`.
  private var text: ByteBuffer
  private var running = InlineArray<4, Program>(repeating: Program())
  /// How many have output that has not ended.
  private var outputCount = 0

  /// How many bytes of `textBytes` a command needs beside its path and name.
  static var textBytesPerCommand: Int { 15 }

  /// Takes room for `capacity` commands with `textBytes` of paths and names from `arena`.
  init(capacity: Int, textBytes: Int, from arena: inout Arena) throws(ArenaExhausted) {
    let textCapacity = textBytes + capacity * Programs.textBytesPerCommand
    let textRegion = try arena.take(textCapacity, for: "programs")
    commands = try FixedArray(capacity: capacity, for: "programs", from: &arena)
    text = ByteBuffer(textRegion)
  }

  /// Takes over what runs from an earlier configuration's table.
  mutating func adoptRunning(from earlier: borrowing Programs) {
    running = earlier.running
    outputCount = earlier.outputCount
  }

  /// Adds a command's program; commands are numbered in the order of these calls. False when there is no room.
  mutating func add(path: Span<UInt8>, name: Span<UInt8>) -> Bool {
    let byteCount = path.count + name.count + Programs.textBytesPerCommand
    guard byteCount <= text.freeCount else { return false }
    let pathStart = text.count
    text.append(path)
    text.append(0)
    let variableStart = text.count
    text.append("MOTE_COMMAND=")
    text.append(name)
    text.append(0)
    return commands.append(Command(pathStart: pathStart, variableStart: variableStart))
  }

  // MARK: Running

  /// See `Host.startProgram`.
  mutating func start(slot: Int, command: Int, input: Span<UInt8>, variables: Span<UInt8>) -> ProgramStart {
    precondition(running[slot].keeper == 0, "a slot is free again once its program's end has been told")
    // A path without a slash at its beginning would depend on where we were started.
    guard text[commands[command].pathStart] == UInt8(ascii: "/") else { return .notExecutable }
    let inputFile = input.withUnsafeBufferPointer { mote_memory_file($0.baseAddress, $0.count) }
    guard inputFile >= 0 else { return .noResources }
    defer { System.close(inputFile) }
    var ends: (reading: Int32, writing: Int32) = (-1, -1)
    guard mote_output_pipe(&ends.reading, &ends.writing) == 0 else { return .noResources }
    defer { System.close(ends.writing) }
    var report: Int32 = -1
    let keeper = execute(command, variables, input: inputFile, ends.reading, ends.writing, &report)
    guard keeper > 0 else {
      System.close(ends.reading)
      return .noResources
    }
    running[slot] = Program(keeper: keeper, report: report, output: ends.reading)
    outputCount += 1
    return .started
  }

  private func execute(
    _ command: Int, _ variables: Span<UInt8>, input: Int32, _ reading: Int32, _ writing: Int32, _ report: inout Int32
  ) -> pid_t {
    precondition(HostLimits.programVariablesMax == Int(MOTE_VARIABLES_MAX))
    precondition(variables.isEmpty || variables[variables.count - 1] == 0)
    return text.span.withUnsafeBufferPointer { bytes in
      variables.withUnsafeBufferPointer { more in
        // DEVIATION(unsafe-pointer): execve(2) takes C strings; those in `text` and `variables` end with a zero.
        guard let start = UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self) else { return -1 }
        let first = more.isEmpty ? nil : UnsafeRawPointer(more.baseAddress)?.assumingMemoryBound(to: CChar.self)
        return mote_start_program(
          start + commands[command].pathStart, start + commands[command].variableStart, first, input, reading, writing,
          &report)
      }
    }
  }

  /// See `Host.pollProgram`.
  mutating func poll(slot: Int, output: inout ByteBuffer) -> ProgramState {
    precondition(running[slot].keeper > 0, "no program has been started in this slot")
    collect(slot, into: &output)
    guard let status = running[slot].endStatus else { return .running }
    closeOutput(slot)
    running[slot].keeper = 0
    let failure = Errno(code: mote_take_report(running[slot].report))
    if failure.code != 0 { return .notStarted(failure.isShortage ? .noResources : .notExecutable) }
    return mote_has_exited(status) != 0
      ? .exited(Int(mote_exit_status(status))) : .signalled(Int(mote_end_signal(status)))
  }

  /// Takes what is there, as far as it may be kept. What comes then is left to the keeper.
  private mutating func collect(_ slot: Int, into output: inout ByteBuffer) {
    guard running[slot].output >= 0 else { return }
    for _ in 0..<ProgramLimits.chunksMax {
      let room = min(HostLimits.programOutputBytesMax - running[slot].keptCount, output.freeCount)
      do throws(Errno) {
        let count: Int
        if room > 0 {
          count = try System.read(running[slot].output, into: &output, byteCountMax: room)
          running[slot].keptCount += count
          if count > 0 { continue }
        } else if try System.discard(running[slot].output) > 0, running[slot].isRunning {
          running[slot].tell(MOTE_PROGRAM_DISCARD)
        }
        return closeOutput(slot)
      } catch {
        if !error.isWouldBlock { closeOutput(slot) }
        return
      }
    }
  }

  private mutating func closeOutput(_ slot: Int) {
    guard running[slot].output >= 0 else { return }
    System.close(running[slot].output)
    running[slot].output = -1
    outputCount -= 1
  }

  /// See `Host.stopProgram`.
  mutating func stop(slot: Int, forcibly: Bool) {
    if running[slot].isRunning { running[slot].tell(forcibly ? MOTE_PROGRAM_KILL : MOTE_PROGRAM_STOP) }
  }

  // MARK: The loop's part

  /// Whether there may be anything to wait for.
  var haveOutput: Bool { outputCount > 0 }

  /// Adds what has to be waited for.
  func register(in set: inout PollSet) {
    for slot in running.indices where running[slot].output >= 0 && running[slot].isRunning {
      _ = set.add(running[slot].output, events: Int16(POLLIN))
    }
  }

  /// Whether any has not ended.
  var areRunning: Bool {
    for slot in running.indices {
      if running[slot].isRunning { return true }
    }
    return false
  }

  /// Kills all that run; `reap` collects them.
  mutating func killAll() {
    for slot in running.indices {
      stop(slot: slot, forcibly: true)
      closeOutput(slot)
    }
  }

  /// Collects the programs that have ended.
  mutating func reap() {
    for slot in running.indices {
      guard running[slot].isRunning else { continue }
      var status: Int32 = 0
      if waitpid(running[slot].keeper, &status, WNOHANG) == running[slot].keeper { running[slot].endStatus = status }
    }
  }
}
