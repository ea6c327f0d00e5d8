// What becomes of texts without mistakes: values, defaults, layers, files of older libraries, and secrets.

import Bytes
import HostInterface
import TestSupport
import Testing

@testable import AgentConfiguration

/// The example of the requirement, with everything in it.
private let example = """
  [device]
  org = ab12cd
  type = edge
  id = e7-0042
  auth-method = token
  auth-token-file = /etc/mote/token

  [server]
  host = 127.0.0.1
  port = 8883
  tls = yes
  ca-file = /etc/ssl/certs/ca-certificates.crt

  [mqtt]
  keep-alive = 60s
  clean-session = yes

  [event status]
  interval = 10s
  qos = 1

  [sensor cpu_temp]
  event = status
  read = thermal:cpu-thermal

  [sensor load]
  event = status
  read = loadavg:1

  [sensor level]
  event = status
  read = file:/sys/bus/iio/devices/iio:device0/in_voltage0_raw
  scale = 0.805664
  offset = -12

  [command blink]
  run = /usr/libexec/mote/blink
  timeout = 10s
  """

@Suite struct LoaderTests {
  private var exampleInput: Input {
    var input = Input(example)
    input.tokenFile = "s3cr=t#;x\n"
    return input
  }

  @Test func theExample() throws {
    try settings(exampleInput) { settings in
      #expect(settings.string(settings.identity.organization) == "ab12cd")
      #expect(settings.string(settings.identity.type) == "edge")
      #expect(settings.string(settings.identity.id) == "e7-0042")
      #expect(settings.string(settings.token) == "s3cr=t#;x")
      #expect(settings.string(settings.tokenFile) == "/etc/mote/token")
      #expect(settings.string(settings.server.host) == "127.0.0.1")
      #expect(settings.string(settings.server.serverName) == "127.0.0.1")
      #expect(settings.server.port == 8883)
      #expect(settings.server.tls)
      #expect(settings.string(settings.server.caFile) == "/etc/ssl/certs/ca-certificates.crt")
      #expect(settings.mqtt.keepAlive == .seconds(60))
      #expect(settings.mqtt.cleanSession)
      #expect(settings.events.count == 1)
      #expect(settings.string(settings.events[0].name) == "status")
      #expect(settings.events[0].interval == .seconds(10))
      #expect(settings.events[0].qos == 1)
      #expect(settings.sensors.count == 3)
      #expect(settings.commands.count == 1)
      #expect(settings.string(settings.commands[0].name) == "blink")
      #expect(settings.string(settings.commands[0].run) == "/usr/libexec/mote/blink")
      #expect(settings.commands[0].timeout == .seconds(10))
      #expect(settings.traits == ["has token", "accepts commands"])
    }
  }

  @Test func itsSensors() throws {
    try settings(exampleInput) { settings in
      let temperature = settings.sensors[0]
      #expect(settings.string(temperature.name) == "cpu_temp")
      #expect(temperature.kind == .thermal)
      #expect(settings.string(temperature.argument) == "cpu-thermal")
      // The host makes degrees of the kernel's thousandths.
      #expect(temperature.scale == Decimal(1))
      #expect(settings.sensors[1].kind == .loadavg)
      #expect(settings.sensors[1].scale == Decimal(1))
      let level = settings.sensors[2]
      #expect(level.kind == .file)
      #expect(settings.string(level.argument) == "/sys/bus/iio/devices/iio:device0/in_voltage0_raw")
      #expect(level.scale == Decimal(significand: 805_664, exponent: -6))
      #expect(level.offset == Decimal(-12))
      #expect(level.decimals == nil)
      #expect(level.valueType == .number)
      #expect(level.event == 0)
      #expect(level.field.isEmpty)
    }
  }

  @Test func defaults() throws {
    try settings(Input(base)) { settings in
      #expect(settings.string(settings.identity.id) == "b827eb123456")
      #expect(settings.string(settings.server.host) == "ab12cd.messaging.internetofthings.ibmcloud.com")
      #expect(settings.string(settings.server.serverName) == "ab12cd.messaging.internetofthings.ibmcloud.com")
      #expect(settings.server.port == 8883)
      #expect(settings.server.tls)
      #expect(settings.server.caFile.isEmpty)
      #expect(!settings.server.allowPlaintextToken)
      #expect(!settings.server.allowUnverifiedServer)
      #expect(settings.mqtt.cleanSession)
      #expect(settings.mqtt.keepAlive == .seconds(60))
      #expect(settings.mqtt.inflightMax == 10)
      #expect(settings.mqtt.packetBytesMax == 8192)
      #expect(settings.mqtt.queueBytes == 32_768)
      #expect(settings.mqtt.connectDelayMax == .seconds(10))
      #expect(settings.mqtt.messagesPerSecondMax == 10)
      #expect(settings.agent.logLevel == .info)
      #expect(settings.agent.sourceTimeout == .seconds(5))
      #expect(!settings.agent.align)
    }
  }

  @Test func everyOtherKey() throws {
    let text = """
      [server]
      domain = iot.example.com
      server-name = broker.example.com
      allow-unverified-server = yes
      [mqtt]
      inflight-max = 5
      packet-size = 129KB
      queue-size = 1MB
      connect-delay-max = 0
      messages-per-second = 0
      clean-session = no
      [agent]
      log-level = debug
      source-timeout = 500ms
      align = yes
      [event fast]
      interval = 100ms
      qos = 2
      [sensor door]
      event = fast
      read = file:/run/door
      field = open
      type = boolean
      [sensor level]
      event = fast
      read = file:/run/level
      decimals = 0
      """
    try settings(Input(base + text)) { settings in
      #expect(settings.string(settings.server.host) == "ab12cd.messaging.iot.example.com")
      #expect(settings.string(settings.server.serverName) == "broker.example.com")
      #expect(settings.traits == ["has token", "accepts commands", "leaves server unverified"])
      #expect(settings.mqtt.inflightMax == 5)
      #expect(settings.mqtt.packetBytesMax == 132_096)
      #expect(settings.mqtt.queueBytes == 1_048_576)
      #expect(settings.mqtt.connectDelayMax == .zero)
      #expect(settings.mqtt.messagesPerSecondMax == 0)
      #expect(!settings.mqtt.cleanSession)
      #expect(settings.agent.logLevel == .debug)
      #expect(settings.agent.sourceTimeout == .milliseconds(500))
      #expect(settings.agent.align)
      #expect(settings.events[1].qos == 2)
      #expect(settings.sensors[1].event == 1)
      #expect(settings.sensors[1].valueType == .boolean)
      #expect(settings.string(settings.sensors[1].field) == "open")
      #expect(settings.sensors[2].decimals == 0)
    }
  }

  // MARK: Files of older libraries

  private let anEvent = "\n[event e]\n[sensor s]\nevent=e\nread=uptime\n"

  @Test func pythonFile() throws {
    // device.cfg of the first Python library.
    let text = """
      [device]
      org=ab12cd
      type=edge
      id=e7
      auth-method=token
      auth-token=a$&*(=#b
      clean-session=false
      domain=iot.example.com
      port=443
      """
    try settings(Input(text + anEvent)) { settings in
      #expect(settings.string(settings.token) == "a$&*(=#b")
      #expect(!settings.mqtt.cleanSession)
      #expect(settings.string(settings.server.host) == "ab12cd.messaging.iot.example.com")
      #expect(settings.server.port == 443)
      #expect(settings.server.tls)
    }
  }

  @Test func embeddedFile() throws {
    // device.cfg of the embedded C library: no section, and keys without values.
    let text = """
      #Device configuration file
      org=ab12cd
      domain=internetofthings.ibmcloud.com
      type=edge
      id=e7
      auth-method=token
      auth-token=x
      serverCertPath=/etc/mote/IoTFoundation.pem
      useClientCertificates=0
      rootCACertPath=
      clientCertPath=
      clientKeyPath=
      """
    try settings(Input(text + anEvent)) { settings in
      #expect(settings.string(settings.server.caFile) == "/etc/mote/IoTFoundation.pem")
    }
  }

  @Test func javaFile() throws {
    let text = """
      Organization-ID = ab12cd
      Device-Type = edge
      DEVICE-ID = e7
      Authentication-Method = token
      Authentication-Token = x
      Clean-Session = true
      mqtt-server = broker.example.com
      MaxInflightMessages = 10
      WebSocket = false
      Automatic-Reconnect = true
      CA-Certificate-Path = /r
      """
    try settings(Input(text + anEvent)) { settings in
      #expect(settings.string(settings.identity.id) == "e7")
      #expect(settings.string(settings.server.host) == "broker.example.com")
      #expect(settings.string(settings.server.caFile) == "/r")
    }
  }

  @Test func windowsFile() throws {
    let text =
      "\u{FEFF}" + (base + anEvent).split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n")
    #expect(try complaints(text) == [])
  }

  @Test func addresses() throws {
    for (written, host) in [
      ("[::1]", "::1"), ("::1", "::1"), ("127.0.0.1", "127.0.0.1"), ("fe80::1%eth0", "fe80::1%eth0"),
    ] {
      try settings(Input(base + "[server]\nhost = \(written)")) { settings in
        #expect(settings.string(settings.server.host) == host)
      }
    }
  }

  @Test func theSystemsCertificates() throws {
    for word in ["system", "_os_"] {
      try settings(Input(base + "[server]\nca-file = \(word)")) { settings in
        #expect(settings.server.caFile.isEmpty)
      }
    }
  }

  // MARK: Layers

  @Test func environmentWinsOverTheFileAndFlagsWinOverBoth() throws {
    var input = Input(base + "[server]\nhost = file\nport = 1\n[mqtt]\nkeep-alive = 1s\n[agent]\nlog-level = error")
    input.environment = [
      ("WIOTP_IDENTITY_ORGID", "ff00ff"), ("WIOTP_IDENTITY_TYPEID", "envtype"), ("WIOTP_IDENTITY_DEVICEID", "envid"),
      ("WIOTP_AUTH_TOKEN", "envtoken"), ("WIOTP_OPTIONS_MQTT_PORT", "2"), ("WIOTP_OPTIONS_LOGLEVEL", "warning"),
      ("WIOTP_OPTIONS_MQTT_KEEPALIVE", "30"), ("WIOTP_OPTIONS_MQTT_CLEANSTART", "False"),
      ("WIOTP_OPTIONS_MQTT_CAFILE", "/env.pem"), ("WIOTP_OPTIONS_MQTT_TRANSPORT", "tcp"),
      ("WIOTP_OPTIONS_DOMAIN", ""),
    ]
    input.flags = [
      Flag(key: .port, name: "--port", value: "3"), Flag(key: .logLevel, name: "--log-level", value: "debug"),
    ]
    try settings(input) { settings in
      #expect(settings.string(settings.identity.organization) == "ff00ff")
      #expect(settings.string(settings.identity.type) == "envtype")
      #expect(settings.string(settings.identity.id) == "envid")
      #expect(settings.string(settings.token) == "envtoken")
      #expect(settings.string(settings.server.host) == "file")
      #expect(settings.server.port == 3)
      #expect(settings.agent.logLevel == .debug)
      #expect(settings.mqtt.keepAlive == .seconds(30))
      #expect(!settings.mqtt.cleanSession)
      #expect(settings.string(settings.server.caFile) == "/env.pem")
    }
  }

  @Test func aTokenOfTheEnvironmentMakesTheFileUnnecessary() throws {
    var input = Input(example)
    input.environment = [("WIOTP_AUTH_TOKEN", "envtoken")]
    try settings(input) { settings in
      #expect(settings.string(settings.token) == "envtoken")
      #expect(settings.tokenFile.isEmpty)
    }
  }

  @Test func aWrongValueThatIsOverriddenDoesNotMatter() throws {
    var input = Input(base + "[server]\nport = x")
    input.flags = [Flag(key: .port, name: "--port", value: "8883")]
    #expect(try complaints(input) == [])
  }

  @Test func ofTwoVariablesTheFormerWins() throws {
    var input = Input(base)
    input.environment = [
      ("WIOTP_OPTIONS_MQTT_CLEANSTART", "false"), ("WIOTP_OPTIONS_MQTT_CLEANSESSION", "true"),
    ]
    try settings(input) { settings in #expect(!settings.mqtt.cleanSession) }
  }

  // MARK: Tokens

  @Test(arguments: [
    ("t\n", "t"), ("t\r\n", "t"), ("t", "t"), (" t \n", " t "), ("t\n\n", "t\n"), ("\"t\"", "\"t\""), ("#=;\n", "#=;"),
    ("\u{FEFF}t\n", "t"),
  ])
  func onlyOneLineFeedIsDroppedFromATokenFile(content: String, token: String) throws {
    var input = Input(example)
    input.tokenFile = content
    try settings(input) { settings in #expect(settings.string(settings.token) == token) }
  }

  @Test func aTokenIsNeverShown() throws {
    // Each way to get it wrong that would show the value of an ordinary key.
    let token = "Zq7vXk29pLmW"
    let device = "org=ab12cd\ntype=t\n"
    let texts = [
      device + "auth-token \(token)",
      device + "auth-token: \(token)",
      device + "auth-token\n\(token)",
      device + "auth-token-file = \(token)",
      device + "auth-token = \(token)\nauth-token = \(token)",
      device + "auth-token = x\n  \(token)",
      device + "auth-token = x\n  \(token)=",
      device + "auth-token = x\n\(token)==",
      device + "auth-token = \(token)\u{1}",
      device + "auth-token = \(token)\n[server]\ntls=no",
      device + "auth-tokn = \(token)",
      device + "[mqtt]\nauth-token = \(token)",
      device + "auth-token = \"\(token)\"",
      device + "auth-token = \(String(repeating: token, count: 50))",
      "org=quickstart\ntype=t\nauth-token = \(token)",
      device + "auth-key = \(token)\nCertificate-Password = \(token)",
      device + "[auth-token = \(token)",
      device + "[device] auth-token = \(token)",
      "[gateway]\n" + device + "auth-token = \(token)",
    ]
    for text in texts {
      var input = Input(text)
      input.isReadableByOthers = true
      let shown = try complaints(input).joined(separator: "\n")
      #expect(!shown.isEmpty, "\(text)")
      #expect(!shown.contains(token.prefix(4)), "\(text): \(shown)")
    }
    var environment = Input(base)
    environment.environment = [
      ("WIOTP_AUTH_TOKEN", String(repeating: token, count: 50)), ("WIOTP_API_TOKEN", token),
      ("WIOTP_AUTH_PRIVATEKEYPASSWORD", token), ("WIOTP_AUTH_KEY", token),
    ]
    #expect(try !complaints(environment).joined().contains(token.prefix(4)))
    #expect(try !description(Input(device + "auth-token = \(token)")).contains(token.prefix(4)))
  }

  // MARK: Quickstart

  @Test func quickstart() throws {
    // As the program makes it: no file, a generated text, and flags.
    var input = Input(
      """
      [device]
      org = quickstart
      type = mote
      [event status]
      interval = 1s
      [sensor load]
      event = status
      read = loadavg:1
      """)
    input.defaultID = "b827eb123456-7f3a"
    try settings(input) { settings in
      #expect(settings.traits == ["is quickstart"])
      #expect(!settings.server.tls)
      #expect(settings.server.port == 1883)
      #expect(settings.string(settings.server.host) == "quickstart.messaging.internetofthings.ibmcloud.com")
      #expect(settings.string(settings.identity.id) == "b827eb123456-7f3a")
      #expect(settings.mqtt.connectDelayMax == .zero)
      #expect(settings.mqtt.messagesPerSecondMax == 1)
      #expect(settings.events[0].qos == 0)
    }
    input.flags = [
      Flag(key: .host, name: "--host", value: "127.0.0.1"), Flag(key: .port, name: "--port", value: "18830"),
      Flag(key: .deviceType, name: "--type", value: "demo"), Flag(key: .deviceID, name: "--id", value: "d1"),
    ]
    try settings(input) { settings in
      #expect(settings.string(settings.server.host) == "127.0.0.1")
      #expect(settings.server.port == 18_830)
      #expect(settings.string(settings.identity.type) == "demo")
      #expect(settings.string(settings.identity.id) == "d1")
    }
  }

  @Test func severalTextsAreOne() throws {
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    loader.load(
      Array(text: "org = quickstart\ntype = t\n[event e]\ninterval = 2s\n").span, name: "one".bytesOfLiteral.span)
    loader.load(
      Array(text: "id = i\n[sensor s]\nevent = e\nread = uptime\n[event e]\n").span, name: "two".bytesOfLiteral.span)
    var arena = makeArena(byteCount: loader.settingsByteCount)
    _ = try loader.finish(defaultID: "x".bytesOfLiteral.span, into: &arena)
    #expect(
      Array(loader.diagnostics.text(at: 0)).text
        == "two:5:2: error: found [event e] again; expected it once, as at one:3:2")
    #expect(loader.diagnostics.count == 1)
  }

  // MARK: What is made of settings

  @Test func descriptionShowsWhatIsAtWork() throws {
    var input = exampleInput
    input.environment = [("WIOTP_OPTIONS_LOGLEVEL", "debug")]
    let expected = """
      [device]
      org = ab12cd
      type = edge
      id = e7-0042
      auth-token-file = /etc/mote/token

      [server]
      host = 127.0.0.1
      port = 8883
      tls = yes
      server-name = 127.0.0.1
      ca-file = /etc/ssl/certs/ca-certificates.crt

      [mqtt]
      keep-alive = 1m
      clean-session = yes
      inflight-max = 10
      packet-size = 8KB
      queue-size = 32KB
      connect-delay-max = 10s
      messages-per-second = 10

      [agent]
      log-level = debug
      source-timeout = 5s
      align = no

      [event status]
      interval = 10s
      qos = 1

      [sensor cpu_temp]
      event = status
      read = thermal:cpu-thermal

      [sensor load]
      event = status
      read = loadavg:1

      [sensor level]
      event = status
      read = file:/sys/bus/iio/devices/iio:device0/in_voltage0_raw
      scale = 0.805664
      offset = -12

      [command blink]
      run = /usr/libexec/mote/blink
      timeout = 10s

      """
    let shown = try description(input)
    #expect(shown == expected)
    // It is itself a configuration, and means the same.
    var again = Input(shown)
    again.tokenFile = "x"
    #expect(try description(again) == expected)
  }

  @Test func descriptionTellsUnsafeChoices() throws {
    let shown = try description(Input(base + "[server]\ntls = no\nallow-plaintext-token = yes"))
    #expect(shown.contains("# auth-token is set and not shown\n"))
    #expect(shown.contains("tls = no\n# the token is sent in the clear\nallow-plaintext-token = yes\n"))
    #expect(
      try description(Input(base + "[server]\nallow-unverified-server = yes"))
        .contains("ca-file = system\n# anyone can pose as the server\nallow-unverified-server = yes\n"))
  }

  @Test(arguments: [
    ("", false), ("[agent]\nlog-level = debug", false), ("[server]\ndomain = x", true), ("[server]\nport = 443", true),
    ("[server]\nhost = x", true), ("[server]\nserver-name = x", true), ("[server]\nca-file = /x", true),
    ("[server]\nallow-unverified-server = yes", true), ("[mqtt]\nkeep-alive = 61s", true),
    ("[mqtt]\nclean-session = no", true), ("[mqtt]\ninflight-max = 9", true), ("[mqtt]\npacket-size = 9KB", true),
    ("[mqtt]\nqueue-size = 9KB", true), ("[mqtt]\nmessages-per-second = 5", false),
    ("[mqtt]\nconnect-delay-max = 5s", false), ("[mqtt]\nretained-commands = yes", false),
    ("[event f]\n[sensor g]\nevent = f\nread = uptime", false),
    ("[command c]\nrun = /x", false), ("id = i", true),
  ])
  func aNewConnectionIsNeededWhereItMatters(lines: String, isNeeded: Bool) throws {
    let text = lines.hasPrefix("id") ? lines + "\n" + base : base + lines
    try settings(Input(base)) { old in
      try settings(Input(text)) { new in
        let forward = new.needsNewConnection(comparedTo: old)
        let backward = old.needsNewConnection(comparedTo: new)
        #expect(forward == isNeeded)
        #expect(backward == isNeeded)
      }
    }
  }

  @Test func aNewTokenNeedsANewConnection() throws {
    var input = exampleInput
    try settings(exampleInput) { old in
      input.tokenFile = "other"
      try settings(input) { new in
        let isNeeded = new.needsNewConnection(comparedTo: old)
        #expect(isNeeded)
      }
    }
  }

  // MARK: Memory

  @Test func settingsNeedNoMoreThanTheySay() throws {
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    #expect(scratch.byteCount <= SettingsLoader.scratchByteCount)
    loader.load(Array(text: example).span, name: "f".bytesOfLiteral.span)
    loader.supplyToken("x".bytesOfLiteral.span, isReadableByOthers: false)
    var small = makeArena(byteCount: 100)
    #expect(throws: ArenaExhausted.self) { _ = try loader.finish(defaultID: "x".bytesOfLiteral.span, into: &small) }
    // The worst case: nothing is given, and all names are as long as they may be.
    let domain = String(repeating: "d", count: 253 - "ab12cd.messaging.".count)
    let longest = String(repeating: "i", count: 36)
    var input = Input(base + "[server]\ndomain = \(domain)")
    input.defaultID = longest
    try settings(input) { settings in
      #expect(settings.server.host.count == 253)
      #expect(settings.string(settings.identity.id) == longest)
    }
  }

  @Test func scratchIsExactlyEnough() throws {
    var tooSmall = makeArena(byteCount: SettingsLoader.scratchByteCount - 256)
    #expect(throws: ArenaExhausted.self) { _ = try SettingsLoader(scratch: &tooSmall) }
  }
}
