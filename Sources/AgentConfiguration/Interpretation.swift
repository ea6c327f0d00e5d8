// Settings of which there is one of each: identity, server, MQTT and the agent itself.

import Bytes
import HostInterface
import IoTPlatform

extension SettingsLoader {
  /// How many bytes `finish` takes from its arena.
  public var settingsByteCount: Int {
    settingsTextBytes + count(of: .event) * MemoryLayout<EventSettings>.stride
      + count(of: .sensor) * MemoryLayout<SensorSettings>.stride
      + reportCount * MemoryLayout<ReportSettings>.stride
      + count(of: .output) * MemoryLayout<OutputSettings>.stride
      + programCount * MemoryLayout<CommandSettings>.stride
      + 6 * 16  // alignment of each piece
  }

  private var programCount: Int { count(of: .command) + count(of: .action) }

  /// All that was said, and what is made up for what was not: domain, host, identifier.
  private var settingsTextBytes: Int {
    // A command may have the name of its output.
    text.count + count(of: .output) * IdentityRules.componentBytesMax + 2 * ConfigurationLimits.hostBytesMax + 2
      * IdentityRules.componentBytesMax
  }

  /// Makes settings of all that was said, with complaints about what is wrong with it; nil when anything is an error.
  ///
  /// `defaultID` is the device's identifier when none is configured: a network device's permanent address as twelve
  /// hexadecimal digits, or for Quickstart something with a random part; empty when the machine has none.
  ///
  /// `inspect` is lent the settings, also those with mistakes, so that it can `report` what the machine lacks of them.
  ///
  /// - Throws: `ArenaExhausted` when `arena` has fewer than `settingsByteCount` bytes.
  public mutating func finish(
    defaultID: Span<UInt8>, into arena: inout Arena,
    inspect: (borrowing Settings, inout SettingsLoader) -> Void = { _, _ in }
  ) throws(ArenaExhausted) -> Settings? {
    var settings = Settings(
      textBytes: settingsTextBytes, events: count(of: .event), sensors: count(of: .sensor),
      reports: reportCount, outputs: count(of: .output), commands: programCount, in: &arena)
    try arena.check()
    guard !isIncomplete else {
      diagnostics.sort()
      return nil
    }
    readIdentity(&settings, defaultID)
    readToken(&settings)
    readServer(&settings)
    readMQTT(&settings)
    settings.agent.sourceTimeout = duration(.sourceTimeout)
    settings.agent.align = boolean(.align)
    settings.agent.logLevel = LogLevel(rawValue: choice(.logLevel)) ?? .info
    readControl(&settings)
    readManagement(&settings)
    readFirmware(&settings)
    readWatchdog(&settings)
    readQueue(&settings)
    readEvents(&settings)
    readSensors(&settings)
    readOutputs(&settings)
    readCommands(&settings)
    checkLegacyKeys()
    checkWhole(settings)
    inspect(settings, &self)
    diagnostics.sort()
    guard diagnostics.errorCount == 0 else { return nil }
    return settings
  }

  private mutating func readIdentity(_ settings: inout Settings, _ defaultID: Span<UInt8>) {
    if let entry = winner(.organization) {
      if IdentityRules.isValidOrganization(bytes(entry.value)) {
        settings.identity.organization = settings.keep(bytes(entry.value))
      } else {
        reportFound(.error, entry, "; expected six lower-case letters and digits, or quickstart")
      }
    } else {
      reportMissing(.organization, in: 0, expected: "six lower-case letters and digits, or quickstart, in [device]")
    }
    if winner(.deviceType) == nil, winner(.gatewayType) == nil {
      reportMissing(.deviceType, in: 0, expected: "the device's type in [device]")
    }
    settings.identity.type = component(.deviceType, &settings)
    if winner(.deviceID) == nil, winner(.gatewayID) == nil {
      if IdentityRules.isValidComponent(defaultID) {
        settings.identity.id = settings.keep(defaultID)
      } else {
        reportMissing(.deviceID, in: 0, expected: "id = NAME in [device], as no network device has a permanent address")
      }
    }
    let id = component(.deviceID, &settings)
    if !id.isEmpty { settings.identity.id = id }
    if let entry = winner(.authMethod), !bytes(entry.value).equalsIgnoringCase(StaticString("token").bytes) {
      beginFound(.error, entry)
      diagnostics.add("; expected token")
      if bytes(entry.value).equalsIgnoringCase(StaticString("apikey").bytes) {
        diagnostics.add(", as applications are not supported yet")
      }
      diagnostics.end()
    }
  }

  @inline(never)
  mutating func component(_ key: Key, _ settings: inout Settings) -> Text {
    guard let entry = winner(key) else { return .none }
    if IdentityRules.isValidComponent(bytes(entry.value)) { return settings.keep(bytes(entry.value)) }
    reportFound(.error, entry, "; expected 1 to 36 of A-Z a-z 0-9 - _ .")
    return .none
  }

  private mutating func readToken(_ settings: inout Settings) {
    let file = winner(.tokenFile)
    let inline = winner(.token)
    settings.tokenFile = path(.tokenFile, of: &settings, isSecret: true)
    if let file, let inline, file.layer == inline.layer {
      begin(.error, file)
      diagnostics.add("found besides auth-token at ")
      diagnostics.add(place: inline.place)
      diagnostics.add("; expected one of them")
      diagnostics.end()
      return
    }
    if wantsTokenFile, !settings.tokenFile.isEmpty {
      if let suppliedToken { settings.token = settings.keep(bytes(suppliedToken)) }
      return
    }
    settings.tokenFile = .none
    guard let inline else { return }
    let length = inline.value.count
    guard length > 0, length <= ConfigurationLimits.tokenBytesMax else {
      begin(.error, inline)
      diagnostics.add("found ")
      diagnostics.add(length)
      diagnostics.add(" bytes; expected a token of 1 to ")
      diagnostics.add(ConfigurationLimits.tokenBytesMax)
      diagnostics.end()
      return
    }
    settings.token = settings.keep(bytes(inline.value))
  }

  private mutating func readServer(_ settings: inout Settings) {
    let isQuickstart = settings.isQuickstart
    settings.server.tls = boolean(.tls, default: !isQuickstart)
    let port = integer(.port, default: settings.server.tls ? nil : Int(QuickstartRules.port))
    settings.server.port = UInt16(truncatingIfNeeded: port)
    settings.server.domain = host(.domain, of: &settings)
    if winner(.domain) == nil {
      settings.server.domain = settings.keep(StaticString("internetofthings.ibmcloud.com").bytes)
    }
    settings.server.host = host(.host, of: &settings)
    if winner(.host) == nil { settings.makeHost() }
    if settings.server.host.count > ConfigurationLimits.hostBytesMax, let entry = winner(.domain) {
      reportFound(.error, entry, "; expected a shorter domain: the host name has more than 253 characters")
    }
    settings.server.serverName = winner(.serverName) == nil ? settings.server.host : host(.serverName, of: &settings)
    readTrust(&settings)
    settings.server.allowPlaintextToken = boolean(.allowPlaintextToken)
    settings.server.allowUnverifiedServer = boolean(.allowUnverifiedServer)
  }

  /// The file of trusted certificates: `ca-file`, or one of the older spellings; `system` and `_os_` mean none.
  private mutating func readTrust(_ settings: inout Settings) {
    if winner(.caFile) != nil {
      settings.server.caFile = trust(.caFile, of: &settings)
      return
    }
    settings.server.caFile = path(.rootCertificateFile, of: &settings)
    guard let entry = winner(.serverCertificateFile) else { return }
    if winner(.rootCertificateFile) == nil {
      settings.server.caFile = path(.serverCertificateFile, of: &settings)
    } else {
      report(.warning, entry, "has no effect beside the root certificate's file")
    }
  }

  /// A file of trusted certificates; `system` means none.
  mutating func trust(_ key: Key, of settings: inout Settings) -> Text {
    if let entry = winner(key), WordList("system|_os_").index(of: bytes(entry.value)) != nil { return .none }
    return path(key, of: &settings)
  }

  private mutating func readMQTT(_ settings: inout Settings) {
    let isQuickstart = settings.isQuickstart
    settings.mqtt.keepAlive = duration(.keepAlive)
    settings.mqtt.cleanSession = boolean(.cleanSession)
    settings.mqtt.inflightMax = integer(.inflightMax)
    settings.mqtt.packetBytesMax = size(.packetSize)
    settings.mqtt.queueBytes = size(.queueSize)
    settings.mqtt.connectDelayMax = duration(.connectDelayMax, default: isQuickstart ? .zero : nil)
    settings.mqtt.messagesPerSecondMax = integer(
      .messagesPerSecond, default: isQuickstart ? QuickstartRules.messagesPerSecondMax : nil)
    settings.mqtt.takesRetainedCommands = boolean(.retainedCommands)
  }
}

extension Settings {
  /// The platform's host: `ORG.messaging.DOMAIN`.
  mutating func makeHost() {
    let start = text.count
    let organization = identity.organization.range
    let domain = server.domain.range
    for index in organization { text.append(text[index]) }
    text.append(".messaging.")
    for index in domain { text.append(text[index]) }
    server.host = Text(offset: UInt32(start), length: UInt32(text.count - start))
  }
}
