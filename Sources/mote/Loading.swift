// From files, environment and command line to settings.

import AgentConfiguration
import Bytes
import HostInterface
import LinuxHost

/// Settings in memory of their own.
struct LoadedConfiguration: ~Copyable {
  var block: MemoryBlock
  var settings: Settings

  /// Gives back its memory.
  consuming func release() { block.release() }
}

/// What is read when no file is named.
let defaultConfigurationPath: StaticString = "/etc/mote/mote.conf"

// DEVIATION(unsafe-pointer): a host lives in start-up memory, and a parameter that need not be there has no other form.
/// The log that tells what is wrong with a configuration: a running agent's, or none, and standard error waits for
/// whoever reads.
typealias RunningLog = UnsafeMutablePointer<LinuxHost>?

/// Reads what `invocation` names. What is wrong with it, or merely doubtful, is told a line each.
///
/// - Throws: `configuration` when something is wrong, `usage` when only flags are, `system` without memory.
func loadConfiguration(
  _ invocation: Invocation, _ arguments: borrowing Arguments, log: RunningLog
) throws(ExitStatus) -> LoadedConfiguration {
  // What a path may have, two floors say; what `reason` says of either limit, it says in words.
  precondition(Files.pathBytesMax == ConfigurationLimits.pathBytesMax && Files.pathBytesMax == 511)
  precondition(ConfigurationLimits.fileBytesMax == 64 * 1024)
  guard var scratch = MemoryBlock() else { throw .system }
  guard var block = MemoryBlock() else { throw .system }
  let settings: Settings?
  var failure = ExitStatus.configuration
  do throws(ArenaExhausted) {
    settings = try load(invocation, arguments, scratch: &scratch.arena, into: &block.arena, failure: &failure, log: log)
  } catch {
    throw .system
  }
  scratch.release()
  guard let settings else {
    block.release()
    throw failure
  }
  return LoadedConfiguration(block: block, settings: settings)
}

private func load(
  _ invocation: Invocation, _ arguments: borrowing Arguments, scratch: inout Arena, into arena: inout Arena,
  failure: inout ExitStatus, log: RunningLog
) throws(ArenaExhausted) -> Settings? {
  var loader = try SettingsLoader(scratch: &scratch)
  loader.diagnostics.isStrict = invocation.isStrict
  // Big enough for the largest file, with a byte to spare that tells a larger one, and, one after the other, for
  // everything else that is read.
  var buffer = try ByteBuffer(capacity: ConfigurationLimits.fileBytesMax + 1, for: "file", from: &scratch)
  if invocation.command == .quickstart {
    try writeQuickstartProfile(into: &buffer, scratch: &scratch)
    loader.load(buffer.span, name: ("quickstart" as StaticString).bytes)
  } else {
    loadNamedFile(invocation, arguments, into: &loader, &buffer)
  }
  // Quickstart is the same wherever it runs; variables of other programs must not reach into it.
  if invocation.command != .quickstart { applyEnvironment(to: &loader, &buffer) }
  applyFlags(to: &loader, invocation, arguments)
  readToken(into: &loader, &buffer)
  if loader.isManaged {
    applyBoard(.serialNumber, as: .serialNumber, to: &loader, &buffer)
    applyBoard(.manufacturer, as: .manufacturer, to: &loader, &buffer)
    applyBoard(.model, as: .model, to: &loader, &buffer)
    applyBoard(.systemVersion, as: .firmwareVersion, to: &loader, &buffer)
  }
  writeDefaultID(isQuickstart: invocation.command == .quickstart, into: &buffer)
  let isCheck = invocation.command == .check
  var hasLooked = true
  let settings = try loader.finish(defaultID: buffer.span, into: &arena) { settings, loader in
    if isCheck { hasLooked = inspect(settings, &loader, from: &scratch) }
  }
  if loader.diagnostics.blameCommandLine { failure = .usage }
  if isCheck {
    // In front of what is wrong, or of the settings.
    let hasComplaints = loader.diagnostics.count > 0
    var line = try ByteBuffer(capacity: 128, for: "users", from: &scratch)
    line.append(hasComplaints ? "checked as user " : "# checked as user ")
    buffer.removeAll()
    ProcessUser.append(to: &line, reading: &buffer)
    line.append(UInt8(ascii: "\n"))
    _ = (hasComplaints ? StandardStream.error : .output).write(line.span)
  }
  tell(loader.diagnostics, to: log, &buffer)
  guard hasLooked else {
    failure = .system
    return nil
  }
  return settings
}

@inline(never)
private func loadNamedFile(
  _ invocation: Invocation, _ arguments: borrowing Arguments, into loader: inout SettingsLoader,
  _ buffer: inout ByteBuffer
) {
  if let index = invocation.config { return loadFile(arguments[index], into: &loader, &buffer) }
  loadFile(defaultConfigurationPath.bytes, into: &loader, &buffer)
}

private func loadFile(_ path: Span<UInt8>, into loader: inout SettingsLoader, _ buffer: inout ByteBuffer) {
  buffer.removeAll()
  do throws(FileFailure) {
    try Files.read(path, into: &buffer)
    loader.load(buffer.span, name: path, isReadableByOthers: Files.isReadableByOthers(path))
  } catch {
    loader.noteUnreadable(name: path, reason: reason(error))
  }
}

/// Appends what a configuration says about the control socket, right or wrong; false where its file cannot be read.
@inline(never)
func readControlSocket(
  _ invocation: Invocation, _ arguments: borrowing Arguments, from arena: inout Arena, into path: inout ByteBuffer
) -> Bool {
  do throws(ArenaExhausted) {
    var loader = try SettingsLoader(scratch: &arena)
    var buffer = try ByteBuffer(capacity: ConfigurationLimits.fileBytesMax + 1, for: "file", from: &arena)
    loadNamedFile(invocation, arguments, into: &loader, &buffer)
    path.append(loader.controlSocket)
    return !loader.isIncomplete
  } catch {
    return false
  }
}

private func applyEnvironment(to loader: inout SettingsLoader, _ buffer: inout ByteBuffer) {
  for index in 0..<EnvironmentVariable.count {
    let variable = EnvironmentVariable.at(index)
    buffer.removeAll()
    if Environment.append(variable.name, to: &buffer) { loader.apply(variable, value: buffer.span) }
  }
}

private func applyFlags(
  to loader: inout SettingsLoader, _ invocation: Invocation, _ arguments: borrowing Arguments
) {
  if let index = invocation.logLevel { loader.apply(.logLevel, value: arguments[index], flag: "--log-level") }
  if let index = invocation.host { loader.apply(.host, value: arguments[index], flag: "--host") }
  if let index = invocation.port { loader.apply(.port, value: arguments[index], flag: "--port") }
  if let index = invocation.type { loader.apply(.deviceType, value: arguments[index], flag: "--type") }
  if let index = invocation.id { loader.apply(.deviceID, value: arguments[index], flag: "--id") }
}

private func applyBoard(
  _ item: BoardItem, as key: Key, to loader: inout SettingsLoader, _ buffer: inout ByteBuffer
) {
  buffer.removeAll()
  MachineRoots().appendBoard(item, to: &buffer)
  loader.apply(key, valueOfBoard: buffer.span)
}

private func readToken(into loader: inout SettingsLoader, _ buffer: inout ByteBuffer) {
  guard loader.wantsTokenFile else { return }
  buffer.removeAll()
  do throws(FileFailure) {
    try Files.read(loader.tokenFilePath, into: &buffer)
    let isReadableByOthers = Files.isReadableByOthers(loader.tokenFilePath)
    loader.supplyToken(buffer.span, isReadableByOthers: isReadableByOthers)
  } catch {
    loader.noteTokenUnreadable(reason: reason(error))
  }
}

/// The identifier of a device that none is configured for: a network device's permanent address, which people know from
/// its label. For Quickstart it is random, since anyone can take over an identifier that he can guess.
private func writeDefaultID(isQuickstart: Bool, into buffer: inout ByteBuffer) {
  buffer.removeAll()
  guard isQuickstart else {
    _ = MachineRoots().appendPermanentAddress(to: &buffer)
    return
  }
  buffer.append("mote-")
  var seed = randomSeed()
  for _ in 0..<4 {
    buffer.append(hexadecimal: UInt8(truncatingIfNeeded: seed))
    seed >>= 8
  }
}

private func tell(_ diagnostics: borrowing Diagnostics, to log: RunningLog, _ buffer: inout ByteBuffer) {
  guard diagnostics.count > 0 else { return }
  for index in 0..<diagnostics.count {
    tell(diagnostics.severity(at: index) == .error ? .error : .warning, diagnostics.text(at: index), to: log)
  }
  buffer.removeAll()
  diagnostics.appendSummary(into: &buffer)
  tell(diagnostics.errorCount > 0 ? .error : .warning, buffer.span, to: log)
}

@inline(never)
private func tell(_ level: LogLevel, _ text: Span<UInt8>, to log: RunningLog) {
  if let log { return log.pointee.writeLog(level, text) }
  _ = StandardStream.error.write(LogSink.priority(of: level).bytes)
  _ = StandardStream.error.write(text)
  _ = StandardStream.error.write(("\n" as StaticString).bytes)
}

/// Why a file could not be read, in words for the person who named it.
func reason(_ failure: FileFailure) -> StaticString {
  switch failure {
  case .notFound: "there is no such file"
  case .notPermitted: "no permission"
  case .notRegular: "not a regular file"
  case .tooLarge: "larger than 64KB"
  case .pathTooLong: "its path has more than 511 bytes"
  case .inputOutput: "input/output error"
  }
}
