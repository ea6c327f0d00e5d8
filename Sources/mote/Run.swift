// `mote run` and `mote quickstart`: builds the parts and turns the loop.

import Agent
import AgentConfiguration
import Bytes
import HostInterface
import LinuxHost

/// What the agent keeps between starts is there, if there is such a folder.
let stateFolder: StaticString = "/var/lib/mote"

/// Runs the agent until a signal, or the end of `--for`.
///
/// - Throws: why it could not be started.
@inline(never)  // the agent would keep the frames of all other commands
func run(_ invocation: Invocation, _ arguments: borrowing Arguments) throws(ExitStatus) {
  leaveOrphansToAKeeper()
  var end: Instant?
  if let duration = invocation.duration { end = bootTime() + duration }
  var next: LoadedConfiguration? = try loadConfiguration(invocation, arguments, log: nil)
  while next != nil { try runOnce(&next, until: end, invocation, arguments) }
}

/// Host and agent of one identity and server, with their memory.
///
/// They live in it, and not in a frame: building them takes many times their size, and whatever a frame had in it once
/// would be held for as long as it is there, which is for ever.
private struct Running: ~Copyable {
  // DEVIATION(unsafe-pointer): see above.
  let host: UnsafeMutablePointer<LinuxHost>
  let agent: UnsafeMutablePointer<Agent>
  let connection: StartupMemory
  var configuration: StartupMemory
}

/// Runs with one identity and server. Reloads that keep both happen inside.
///
/// `next` is the configuration to run with, and becomes the one to go on with where one has come that takes a new
/// connection; nil at the end.
private func runOnce(
  _ next: inout LoadedConfiguration?, until end: Instant?, _ invocation: Invocation,
  _ arguments: borrowing Arguments
) throws(ExitStatus) {
  var running = try start(&next, invocation.logBytesMax)
  try turn(
    &running.agent.pointee, &running.host.pointee, &running.configuration, &next, until: end, invocation, arguments)
  let end = running.host.pointee.supervisedEnd
  running.host.pointee.close(holdingSignals: next != nil)
  running.configuration.release()
  running.connection.release()
  switch end {
  case .slotsChanged: throw .slotsChanged
  case .trialFailed: throw .trialFailed
  case nil: break
  }
}

/// Turns the loop until the agent has ended.
@inline(never)
private func turn(
  _ agent: inout Agent, _ host: inout LinuxHost, _ configuration: inout StartupMemory,
  _ next: inout LoadedConfiguration?, until end: Instant?, _ invocation: Invocation, _ arguments: borrowing Arguments
) throws(ExitStatus) {
  var isEnding = false
  var end = end
  while true {
    let deadline = agent.step(&host)
    if agent.isEnded { return }
    // The clock is asked only where the end is what comes next.
    if let moment = end, moment <= deadline, host.now() >= moment {
      // It has come once: from now on the agent alone knows what there is to wait for.
      end = nil
      isEnding = true
      host.tellManager(.stopping)
      next.take()?.release()
      agent.stop(reason: "duration", &host)
      continue
    }
    host.wait(until: min(deadline, end ?? deadline))
    while let signal = host.takeSignal() {
      // Quickstart has no file that could be read again: a hangup means that whoever was watching has left.
      if signal != .reload || invocation.command == .quickstart {
        isEnding = true
        host.tellManager(.stopping)
        next.take()?.release()
        agent.stop(reason: signal.name, &host)
      } else if !isEnding {
        try reload(&agent, &host, &configuration, &next, invocation, arguments)
      }
    }
  }
}

/// Goes over to a new configuration, now or with the next agent.
@inline(never)
private func reload(
  _ agent: inout Agent, _ host: inout LinuxHost, _ configuration: inout StartupMemory,
  _ next: inout LoadedConfiguration?, _ invocation: Invocation, _ arguments: borrowing Arguments
) throws(ExitStatus) {
  host.tellManager(.reloading)
  guard let loaded = reloadConfiguration(invocation, arguments, &host) else {
    agent.logReloadRefused(&host)
    host.tellManager(.reloaded)
    return
  }
  // Once this agent is ending, the newest configuration is for the next one.
  if next != nil || agent.needsNewConnection(for: loaded.settings) {
    next.take()?.release()
    let isGuarded = !loaded.settings.watchdog.device.isEmpty
    next = consume loaded
    agent.stopForNewConnection(isGuarded: isGuarded, &host)
    return
  }
  var block = loaded.block
  agent.reload(plan: try replacePlan(loaded.settings, host: &host, arena: &block.arena), &host)
  configuration.release()
  configuration = block.sealed()
  host.tellManager(.reloaded)
}

/// The configuration read anew; nil when something is wrong with it, which has been reported then. It goes the way of
/// the log: a reader that does not read must not stop an agent.
private func reloadConfiguration(
  _ invocation: Invocation, _ arguments: borrowing Arguments, _ host: RunningLog
) -> LoadedConfiguration? {
  do throws(ExitStatus) {
    return try loadConfiguration(invocation, arguments, log: host)
  } catch {
    explain(error)
    return nil
  }
}

// MARK: Building the parts

// Running out of start-up memory here would be a defect: the reserve is larger than the sum of all limits.

/// Builds host and agent of the configuration, which is taken from `next`, and logs it.
@inline(never)
private func start(_ next: inout LoadedConfiguration?, _ logBytesMax: Int) throws(ExitStatus) -> Running {
  guard let configuration = next.take(), var connection = MemoryBlock() else { throw .system }
  var block = configuration.block
  let settings = configuration.settings
  let host: UnsafeMutablePointer<LinuxHost> = try makeRoom(for: "host", in: &connection)
  let agent: UnsafeMutablePointer<Agent> = try makeRoom(for: "agent", in: &connection)
  host.initialize(to: try makeHost(settings, logBytesMax, connection: &connection.arena, configuration: &block.arena))
  let uncontrolled = openControl(settings, &host.pointee)
  let plan = try makePlan(settings, host: &host.pointee, arena: &block.arena)
  agent.initialize(to: try makeAgent(plan, now: host.pointee.now(), arena: &connection.arena))
  agent.pointee.logStart(
    version: buildVersion, connection: connection.arena, configuration: block.arena, &host.pointee)
  if let uncontrolled {
    agent.pointee.logUncontrolled(uncontrolled, usualPlace: usualControlPlaces.word(0), &host.pointee)
  }
  host.pointee.tellManager(.ready)
  let memory = connection.sealed()
  memory.isForgottenByChildren()
  return Running(host: host, agent: agent, connection: memory, configuration: block.sealed())
}

private func makeRoom<Value: ~Copyable>(
  for name: StaticString, in block: inout MemoryBlock
) throws(ExitStatus) -> UnsafeMutablePointer<Value> {
  do throws(ArenaExhausted) {
    return try block.room(for: name)
  } catch {
    throw .software
  }
}

func makeHost(
  _ settings: borrowing Settings, _ logBytesMax: Int, connection: inout Arena, configuration: inout Arena
) throws(ExitStatus) -> LinuxHost {
  let links = try makeLinks(settings, from: &connection)
  // Quickstart leaves no traces.
  let storage = settings.isQuickstart ? LinuxStorage(folder: nil) : LinuxStorage(folder: stateFolder)
  do throws(HostSetupFailure) {
    return try LinuxHost(
      links: links, storage: storage, plan: hostPlan(of: settings), logBytesMax: logBytesMax, from: &configuration)
  } catch {
    throw .system
  }
}

/// The links that a configuration needs: images are fetched beside the messages.
private func makeLinks(_ settings: borrowing Settings, from arena: inout Arena) throws(ExitStatus) -> PerLink<Link> {
  do throws(ArenaExhausted) {
    return try makeLinks(
      message: settings.server.tls ? .tls : .plain, transfer: settings.firmware.isConfigured ? .tls : .none,
      from: &arena)
  } catch {
    throw .software
  }
}

/// The host's tables are as large as the configuration asks for.
func hostPlan(of settings: borrowing Settings) -> HostPlan {
  var plan = HostPlan(
    sensorCount: settings.sensors.count, sensorTextBytes: 0, commandCount: settings.commands.count,
    commandTextBytes: 0, sourceTimeout: settings.agent.sourceTimeout)
  for index in 0..<settings.sensors.count {
    plan.sensorTextBytes += settings.sensors[index].argument.count
    if settings.sensors[index].kind == .gpio { plan.lineCount += 1 }
  }
  plan.outputCount = settings.outputs.count
  for index in 0..<settings.outputs.count { plan.outputTextBytes += settings.outputs[index].argument.count }
  for index in 0..<settings.commands.count {
    plan.commandTextBytes += settings.commands[index].name.count + settings.commands[index].run.count
  }
  return plan
}

/// Opens the sources and names the programs of `settings` on the host, and makes the agent's part of them.
private func makePlan(
  _ settings: consuming Settings, host: inout LinuxHost, arena: inout Arena
) throws(ExitStatus) -> Plan {
  var sources = try makeSourceTable(settings.sensors.count, from: &arena)
  for index in 0..<settings.sensors.count {
    let sensor = settings.sensors[index]
    let source = host.openSource(sensor.kind, argument: settings.bytes(sensor.argument))
    guard let source, sources.append(source) else { throw .software }
  }
  for index in 0..<settings.commands.count {
    let command = settings.commands[index]
    let isAdded = host.addProgram(path: settings.bytes(command.run), commandName: settings.bytes(command.name))
    guard isAdded else { throw .software }
  }
  for index in 0..<settings.outputs.count {
    let output = settings.outputs[index]
    guard host.openOutput(output.kind, place: settings.bytes(output.argument)) else { throw .software }
  }
  try useFirmware(settings, host: &host, arena: &arena)
  do throws(ArenaExhausted) {
    return try Plan(settings: settings, sources: sources, now: host.now(), from: &arena)
  } catch {
    throw .software
  }
}

/// Tells the host what is configured about firmware.
private func useFirmware(
  _ settings: borrowing Settings, host: inout LinuxHost, arena: inout Arena
) throws(ExitStatus) {
  let plan = FirmwarePlan(
    isConfigured: settings.firmware.isConfigured, isOwn: settings.firmware.installer == .agent,
    run: settings.bytes(settings.firmware.run), slotA: settings.bytes(settings.firmware.slots.a),
    slotB: settings.bytes(settings.firmware.slots.b), keyFile: settings.bytes(settings.firmware.keyFile))
  do throws(ArenaExhausted) { try host.useFirmware(plan, from: &arena) } catch { throw .software }
}

private func makeSourceTable(_ count: Int, from arena: inout Arena) throws(ExitStatus) -> FixedArray<Int> {
  do throws(ArenaExhausted) {
    return try FixedArray(capacity: count, for: "sensors", from: &arena)
  } catch {
    throw .software
  }
}

private func replacePlan(
  _ settings: consuming Settings, host: inout LinuxHost, arena: inout Arena
) throws(ExitStatus) -> Plan {
  do throws(ArenaExhausted) {
    try host.replacePlan(hostPlan(of: settings), from: &arena)
  } catch {
    throw .software
  }
  return try makePlan(settings, host: &host, arena: &arena)
}

private func makeAgent(_ plan: consuming Plan, now: Instant, arena: inout Arena) throws(ExitStatus) -> Agent {
  do throws(ArenaExhausted) {
    return try Agent(plan: plan, buildTime: buildTime, now: now, seed: randomSeed(), from: &arena)
  } catch {
    throw .software
  }
}
