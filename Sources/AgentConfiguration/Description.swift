// The settings at work, written as a configuration, so that `mote check` can show what defaults, environment and flags
// have made of a file. Secrets are left out.

import Bytes
import HostInterface

extension Settings {
  /// Room for `append(_:)` with these settings, in bytes.
  public var descriptionBytesMax: Int {
    2048 + text.count * 2 + events.count * 96 + sensors.count * 256 + commands.count * 96
  }
}

extension ByteBuffer {
  /// Appends `settings` as a configuration text without its secrets, defaults included.
  public mutating func append(_ settings: borrowing Settings) {
    append("[device]\n")
    append("org", settings.bytes(settings.identity.organization))
    append("type", settings.bytes(settings.identity.type))
    append("id", settings.bytes(settings.identity.id))
    if !settings.tokenFile.isEmpty {
      append("auth-token-file", settings.bytes(settings.tokenFile))
    } else if settings.hasToken {
      append("# auth-token is set and not shown\n")
    }
    appendServer(settings)
    appendMQTT(settings)
    append("\n[agent]\n")
    append("log-level", settings.agent.logLevel.name.bytes)
    append("source-timeout", settings.agent.sourceTimeout)
    for index in 0..<settings.events.count {
      let event = settings.events[index]
      appendHeading("event", settings.bytes(event.name))
      append("interval", event.interval)
      append("qos", Int(event.qos))
    }
    for index in 0..<settings.sensors.count { appendSensor(settings.sensors[index], settings) }
    for index in 0..<settings.commands.count {
      let command = settings.commands[index]
      appendHeading("command", settings.bytes(command.name))
      append("run", settings.bytes(command.run))
      append("timeout", command.timeout)
    }
  }

  private mutating func appendServer(_ settings: borrowing Settings) {
    append("\n[server]\n")
    append("host", settings.bytes(settings.server.host))
    append("port", Int(settings.server.port))
    append("tls", settings.server.tls)
    if settings.server.tls {
      append("server-name", settings.bytes(settings.server.serverName))
      let file = settings.server.caFile
      append("ca-file", file.isEmpty ? StaticString("system").bytes : settings.bytes(file))
    }
    if settings.sendsPlaintextToken {
      append("# the token is sent in the clear\n")
      append("allow-plaintext-token", true)
    }
    if settings.leavesServerUnverified {
      append("# anyone can pose as the server\n")
      append("allow-unverified-server", true)
    }
  }

  private mutating func appendMQTT(_ settings: borrowing Settings) {
    append("\n[mqtt]\n")
    append("keep-alive", settings.mqtt.keepAlive)
    append("clean-session", settings.mqtt.cleanSession)
    append("inflight-max", settings.mqtt.inflightMax)
    append("packet-size", size: settings.mqtt.packetBytesMax)
    append("queue-size", size: settings.mqtt.queueBytes)
    append("connect-delay-max", settings.mqtt.connectDelayMax)
    append("messages-per-second", settings.mqtt.messagesPerSecondMax)
  }

  private mutating func appendSensor(_ sensor: SensorSettings, _ settings: borrowing Settings) {
    appendHeading("sensor", settings.bytes(sensor.name))
    append("event", settings.bytes(settings.events[sensor.event].name))
    append("read = ")
    append(sensor.kind.name)
    if !sensor.argument.isEmpty {
      append(":")
      append(settings.bytes(sensor.argument))
    }
    append("\n")
    if !sensor.field.isEmpty { append("field", settings.bytes(sensor.field)) }
    switch sensor.valueType {
    case .number: break
    case .text: append("type", "text")
    case .boolean: append("type", "boolean")
    }
    if sensor.scale != Decimal(1), sensor.valueType == .number { append("scale", sensor.scale) }
    if sensor.offset != Decimal(0) { append("offset", sensor.offset) }
    if let decimals = sensor.decimals { append("decimals", decimals) }
  }

  // MARK: Lines

  @inline(never)
  private mutating func appendHeading(_ kind: StaticString, _ name: Span<UInt8>) {
    append("\n[")
    append(kind)
    append(" ")
    append(name)
    append("]\n")
  }

  @inline(never)
  private mutating func append(_ key: StaticString, _ value: Span<UInt8>) {
    append(key)
    append(" = ")
    append(value)
    append("\n")
  }

  @inline(never)
  private mutating func append(_ key: StaticString, _ value: StaticString) {
    append(key, value.bytes)
  }

  @inline(never)
  private mutating func append(_ key: StaticString, _ value: Bool) {
    append(key, value ? "yes" : "no")
  }

  @inline(never)
  private mutating func append(_ key: StaticString, _ value: Int) {
    append(key)
    append(" = ")
    append(decimal: value)
    append("\n")
  }

  @inline(never)
  private mutating func append(_ key: StaticString, _ value: TimeSpan) {
    append(key)
    append(" = ")
    append(duration: value)
    append("\n")
  }

  @inline(never)
  private mutating func append(_ key: StaticString, size: Int) {
    append(key)
    append(" = ")
    append(size: size)
    append("\n")
  }

  @inline(never)
  private mutating func append(_ key: StaticString, _ value: Decimal) {
    append(key)
    append(" = ")
    append(value)
    append("\n")
  }
}
