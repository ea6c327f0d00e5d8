import Foundation
import PlatformClient
import Testing

private let credentials: SettingLayer = [
  .key: SettingValue("a-ab12cd-xyz", at: "KEY"), .token: SettingValue("s3cr=t#", at: "TOKEN"),
]

private func layer(_ values: [SettingName: String], at place: String = "FLAG") -> SettingLayer {
  values.mapValues { SettingValue($0, at: place) }
}

@Suite struct SettingsTests {
  @Test func nothingSaidMeansTheLocalPlatform() throws {
    let settings = try ApplicationSettings(layers: [credentials])
    #expect(settings.organization == "ab12cd")
    #expect(settings.broker.description == "mqtt://127.0.0.1:1883")
    #expect(settings.api.description == "http://127.0.0.1:8080")
    #expect(settings.clientID.hasPrefix("a:ab12cd:motectl-"))
    #expect(settings.verifiesServer && settings.verifiesAPI)
  }

  @Test(arguments: [
    ("127.0.0.1", true), ("127.255.0.9", true), ("localhost", true), ("::1", true), ("127.example.com", false),
    ("127.0.0.1.example.com", false), ("127.0.0.256", false), ("127.1", false), ("0.0.0.0", false), ("", false),
  ])
  func loopback(_ host: String, _ expected: Bool) { #expect(isLoopback(host: host) == expected) }

  @Test func aDomainMeansItsHosts() throws {
    let settings = try ApplicationSettings(layers: [layer([.domain: "iot.example"]), credentials])
    #expect(settings.broker.description == "mqtts://ab12cd.messaging.iot.example:8883")
    #expect(settings.api.description == "https://ab12cd.iot.example:443")
  }

  @Test(arguments: [
    ("mqtt://h.example", "mqtt://h.example:1883", "http://h.example:8080"),
    ("mqtts://h.example:18883", "mqtts://h.example:18883", "https://h.example:443"),
    ("h.example", "mqtts://h.example:8883", "https://h.example:443"),
    ("h.example:1883", "mqtt://h.example:1883", "http://h.example:8080"),
    ("127.0.0.1", "mqtt://127.0.0.1:1883", "http://127.0.0.1:8080"),
    ("localhost:8883", "mqtts://localhost:8883", "https://localhost:443"),
    ("mqtt://[::1]:2000", "mqtt://[::1]:2000", "http://[::1]:8080"),
    ("ab12cd.messaging.iot.example", "mqtts://ab12cd.messaging.iot.example:8883", "https://ab12cd.iot.example:443"),
  ])
  func servers(_ text: String, _ broker: String, _ api: String) throws {
    let layers = [layer([.server: text, .allowPlaintextToken: "yes"]), credentials]
    let settings = try ApplicationSettings(layers: layers)
    #expect(settings.broker.description == broker)
    #expect(settings.api.description == api)
  }

  @Test(arguments: [
    "", "http://h", "h:0", "h:65536", "h:x", "h/", "mqtt://", "mqtt://[::1", "mqtt://[zz]", "mqtt://a b", "::1",
    "user@h",
  ])
  func wrongServers(_ text: String) {
    expectConfigurationError("FLAG") { _ = try ApplicationSettings(layers: [layer([.server: text]), credentials]) }
  }

  @Test(arguments: ["h.example", "ftp://h.example", "http://h.example/path", "https://"])
  func wrongAPI(_ text: String) {
    expectConfigurationError("FLAG") { _ = try ApplicationSettings(layers: [layer([.api: text]), credentials]) }
  }

  @Test func theFormerLayerWins() throws {
    let flags = layer([.server: "mqtts://one.example", .applicationID: "me"])
    let file = layer([.server: "mqtts://two.example", .api: "https://two.example", .caFile: "/ca"], at: "FILE")
    let settings = try ApplicationSettings(layers: [flags, credentials, file])
    #expect(settings.broker.host == "one.example")
    // The other platform's REST interface is not this one's.
    #expect(settings.api.host == "one.example")
    #expect(settings.caFile == "/ca")
    #expect(settings.applicationID == "me")
    let other = try ApplicationSettings(layers: [credentials, file])
    #expect(other.api.host == "two.example")
  }

  @Test func theTokenDoesNotCrossTheNetworkInTheClear() throws {
    expectConfigurationError("mqtt://h.example:1883") {
      _ = try ApplicationSettings(layers: [layer([.server: "mqtt://h.example"]), credentials])
    }
    expectConfigurationError("http://h.example:80") {
      let layers = [layer([.server: "mqtts://h.example", .api: "http://h.example"]), credentials]
      _ = try ApplicationSettings(layers: layers)
    }
  }

  @Test func credentialsAreNeeded() throws {
    expectConfigurationError("organisation") { _ = try ApplicationSettings(layers: [[:]]) }
    expectConfigurationError("credentials") {
      _ = try ApplicationSettings(layers: [layer([.organization: "ab12cd"])])
    }
    expectConfigurationError("FLAG") { _ = try ApplicationSettings(layers: [layer([.key: "a-ab12cd-x"])]) }
    let quickstart = try ApplicationSettings(layers: [layer([.organization: "quickstart"]), credentials])
    #expect(quickstart.credentials == nil)
    #expect(quickstart.isQuickstart)
  }

  @Test(arguments: [
    (SettingName.organization, "AB12CD"), (.applicationID, "a b"), (.port, "0"), (.keepAlive, "0"),
    (.keepAlive, "70000"), (.transport, "websockets"), (.allowUnverifiedServer, "perhaps"),
  ])
  func wrongValues(_ name: SettingName, _ text: String) {
    expectConfigurationError("FLAG") { _ = try ApplicationSettings(layers: [layer([name: text]), credentials]) }
  }

  @Test func theEnvironmentHasFallbacks() throws {
    let layer = environmentLayer([
      "WIOTP_API_KEY": "a-ab12cd-old", "WIOTP_AUTH_KEY": "a-ab12cd-new", "WIOTP_API_TOKEN": "token",
      "WIOTP_AUTH_TOKEN": "", "WIOTP_OPTIONS_HTTP_VERIFY": "False", "WIOTP_OPTIONS_MQTT_PORT": "2000",
    ])
    let settings = try ApplicationSettings(layers: [layer])
    #expect(settings.credentials == Credentials(key: "a-ab12cd-new", token: "token"))
    #expect(settings.verifiesServer && !settings.verifiesAPI)
    #expect(settings.broker.port == 2000)
  }
}

@Suite struct ProfileTests {
  @Test func librariesFilesAreUnderstood() throws {
    let path = try write(
      """
      # a comment
      [application]
      org = ab12cd
      ID = ops
      auth-method = apikey
      API-Key = a-ab12cd-xyz
      auth-token = s3cr=t #no comment
      """)
    let settings = try ApplicationSettings(layers: [try readProfile(path)])
    #expect(settings.clientID == "a:ab12cd:ops")
    #expect(settings.credentials?.token == "s3cr=t #no comment")
  }

  @Test func thePlatformsOwnKeyFileIsAProfile() throws {
    let path = try write("WIOTP_AUTH_KEY=a-local0-x\nWIOTP_AUTH_TOKEN=token\n")
    #expect(try ApplicationSettings(layers: [try readProfile(path)]).organization == "local0")
  }

  @Test func aTokenFileWinsInItsLayer() throws {
    let token = try write("s3cr=t\n")
    let profile = try write("auth-key = a-ab12cd-x\nauth-token-file = \(token)\n")
    let settings = try ApplicationSettings(layers: [try readProfile(profile)])
    #expect(settings.credentials?.token == "s3cr=t")
  }

  @Test(arguments: [
    ("org ab12cd", 1), ("org = ab12cd\n[device]", 2), ("\n\nauth-tokn = x", 3), ("org = a\norg = b", 2),
  ])
  func mistakesHaveTheirLine(_ text: String, _ line: Int) throws {
    let path = try write(text)
    expectConfigurationError("\(path):\(line)") { _ = try readProfile(path) }
  }

  @Test(arguments: [0o644, 0o640, 0o604, 0o660])
  func othersMayNotReadIt(_ mode: Int) throws {
    let path = try write("org = ab12cd\n", mode: mode)
    expectConfigurationError(path) { _ = try readProfile(path) }
  }

  @Test func whatIsNoFile() throws {
    expectConfigurationError("/no/such/profile") { _ = try readProfile("/no/such/profile") }
    expectConfigurationError("/") { _ = try readProfile("/") }
    let path = try write(String(repeating: "#\n", count: ApplicationLimits.profileBytesMax))
    expectConfigurationError(path) { _ = try readProfile(path) }
  }
}

private func expectConfigurationError(_ place: String, _ body: () throws -> Void) {
  do {
    try body()
    Issue.record("no error at \(place)")
  } catch let error as ClientError {
    #expect(error.kind == .configuration)
    #expect(error.place == place)
  } catch {
    Issue.record("another error: \(error)")
  }
}

private func write(_ text: String, mode: Int = 0o600) throws -> String {
  let path = NSTemporaryDirectory() + "motectl-test-" + UUID().uuidString
  let attributes: [FileAttributeKey: Any] = [.posixPermissions: mode]
  #expect(FileManager.default.createFile(atPath: path, contents: Data(text.utf8), attributes: attributes))
  return path
}
