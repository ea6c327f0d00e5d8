// What `mote check` looks at on this machine, so that what cannot work is known before anybody waits for it. What is
// said here is a warning: files come and go, and the agent starts without them.

import Agent
import AgentConfiguration
import Bytes
import HostInterface
import LinuxHost
import Telemetry

/// How long all sensors together are waited for: longer than `source-timeout` can be.
private var inspectionPatience: TimeSpan { .seconds(65) }

/// Looks at everything that `settings` name, and reports what is missing. Needs some of `arena`.
///
/// - Returns: whether there was memory for it, and no signal ended it.
func inspect(_ settings: borrowing Settings, _ loader: inout SettingsLoader, from arena: inout Arena) -> Bool {
  for index in 0..<settings.commands.count {
    inspect(.command(index), settings.bytes(settings.commands[index].run), &loader)
  }
  if settings.firmware.isConfigured { inspectFirmware(settings, &loader, from: &arena) }
  inspectLocation(settings, &loader)
  inspect(.reboot, settings.bytes(settings.management.reboot), &loader)
  inspect(.factoryReset, settings.bytes(settings.management.factoryReset), &loader)
  do throws(ArenaExhausted) {
    if settings.server.security == .verified {
      let path = settings.bytes(settings.server.caFile)
      if let fault = try TrustedCertificates.fault(at: path, from: &arena) {
        loader.report(
          .trust, "where no certificate can be had", trustWords.word(Int(fault.rawValue)),
          trustRemedies.word(Int(fault.rawValue)))
      }
    }
    return try inspectSensors(settings, &loader, from: &arena)
  } catch {
    return false
  }
}

/// Looks at what an update would take.
private func inspectFirmware(
  _ settings: borrowing Settings, _ loader: inout SettingsLoader, from arena: inout Arena
) {
  let isOwn = settings.firmware.installer == .agent
  if !isOwn { inspect(.installer, settings.bytes(settings.firmware.run), &loader) }
  if !settings.firmware.keyFile.isEmpty {
    do throws(PublicKeyFailure) {
      _ = try PublicKey(readingFrom: settings.bytes(settings.firmware.keyFile), from: &arena)
    } catch {
      let index = keyWord(error)
      loader.report(.keys, "where no key can be had", keyWords.word(index), keyRemedies.word(index))
    }
  }
  if let obstacle = FirmwareStorage.obstacle(in: stateFolder, isExecuted: isOwn) {
    loader.report(
      .images, "but /var/lib/mote can keep no image", obstacle.name.bytes,
      imageRemedies.word(Int(obstacle.rawValue)))
  }
}

/// Reads the file that says where the device is.
private func inspectLocation(_ settings: borrowing Settings, _ loader: inout SettingsLoader) {
  let path = settings.bytes(settings.management.locationFile)
  guard !path.isEmpty, let fault = LinuxHost.locationFault(path) else { return }
  loader.report(
    .location, "which cannot be read now", fault.bytes,
    StaticString("have it written, and let the agent's user read it").bytes)
}

private func keyWord(_ failure: PublicKeyFailure) -> Int {
  switch failure {
  case .file(.notFound): 0
  case .file(.notPermitted): 1
  case .file: 2
  case .noKey: 3
  case .notP256: 4
  }
}

/// Looks at the program at `path`, if there is one.
@inline(never)  // small code
private func inspect(_ thing: NamedThing, _ path: Span<UInt8>, _ loader: inout SettingsLoader) {
  guard !path.isEmpty, let fault = ProgramFile.fault(path) else { return }
  loader.report(
    thing, "which cannot be executed", programWords.word(Int(fault.rawValue)),
    programRemedies.word(Int(fault.rawValue)))
}

/// Reads each sensor once, as the agent would.
private func inspectSensors(
  _ settings: borrowing Settings, _ loader: inout SettingsLoader, from arena: inout Arena
) throws(ArenaExhausted) -> Bool {
  var sources = try FixedArray<Int>(capacity: settings.sensors.count, for: "sensors", from: &arena)
  var raw = try ByteBuffer(capacity: HostLimits.sourceBytesMax, for: "sensors", from: &arena)
  var host: LinuxHost
  do throws(ExitStatus) { host = try makeReadingHost(hostPlan(of: settings), from: &arena) } catch { return false }
  for index in 0..<settings.sensors.count {
    let sensor = settings.sensors[index]
    let source = host.openSource(sensor.kind, argument: settings.bytes(sensor.argument))
    guard let source, sources.append(source) else { preconditionFailure("the plan has room for all sensors") }
  }
  let end = host.now() + inspectionPatience
  var isInterrupted = false
  for index in 0..<sources.count where !isInterrupted {
    let sensor = settings.sensors[index]
    // What stands in the configuration itself needs no look.
    if sensor.kind.description.reading == .fromArgument { continue }
    var channel = Plan.channel(ofSensor: index, in: settings)
    let reading = readInTurn(
      index, of: sources, as: &channel, field: settings.bytes(sensor.field), into: &raw, until: end, &host)
    if case .failed(.busy) = reading {
      // The agent that runs.
      if raw.span.equals(LineConsumer.name) { continue }
      raw.append(" has it")
      loader.report(.sensor(index), "which gives no value now", ReadFailure.busy.name.bytes, raw.span)
    } else if case .failed(let failure) = reading {
      loader.report(
        .sensor(index), "which gives no value now", failure.name.bytes,
        // The last goes for all that may pass by itself.
        sensorRemedies.word(min(Int(failure.rawValue), 6)))
    }
    isInterrupted = host.takeSignal() != nil
  }
  host.close()
  return !isInterrupted
}

// MARK: Words, in the order of the cases. Each has its row in docs/troubleshooting.md.

private var programWords: WordList {
  WordList("not-found|not-a-file|not-permitted|carriage-return|no-interpreter|no-program")
}

private var programRemedies: WordList {
  WordList(
    """
    put the program there, or mend the path|name a file|let the agent's user execute it\
    |save it without carriage returns|install what its first line names|begin it with a line such as #!/bin/sh
    """)
}

private var trustWords: WordList {
  WordList("not-found|not-permitted|input-output-error|no-certificate|certificate-too-large")
}

private var trustRemedies: WordList {
  WordList(
    """
    install ca-certificates, or name a PEM file in ca-file|let the agent's user read it\
    |the kernel's log may say more|expected certificates in PEM|trust a smaller one
    """)
}

private var keyWords: WordList { WordList("not-found|not-permitted|input-output-error|no-key|not-p256") }

private var keyRemedies: WordList {
  WordList(
    """
    put the keys there, or mend the path|let the agent's user read it|the kernel's log may say more\
    |expected PEM, as `openssl pkey -pubout` writes it|expected keys of P-256
    """)
}

private var imageRemedies: WordList {
  WordList(
    """
    make the folder|let the agent's user write to it|mount it to be written to|it is in memory; mount flash there\
    |mount it without noexec
    """)
}

private var sensorRemedies: WordList {
  WordList(
    """
    `mote sensors` lists what there is|let the agent's user read it|the kernel's log may say more\
    |raise source-timeout if it is that slow|name a field, or another type|let scale or decimals shorten it\
    |it may have one later
    """)
}
