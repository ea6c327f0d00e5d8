// What the tests of this module share: loading a text in one call, and the least that a valid file has.

import Bytes
import HostInterface
import TestSupport

@testable import AgentConfiguration

/// A flag as a program would hand it in.
struct Flag {
  let key: Key
  let name: StaticString
  let value: String
}

/// Everything that loading depends on.
struct Input {
  var text: [UInt8]
  var environment: [(name: String, value: String)] = []
  var flags: [Flag] = []
  var tokenFile: String?
  var tokenIsReadableByOthers = false
  var isReadableByOthers = false
  var defaultID = "b827eb123456"

  init(_ text: String) { self.text = Array(text: text) }
}

/// Loads `input` and lends the settings (nil if there were errors) and the loader to `body`.
func load<Result>(
  _ input: Input, _ body: (borrowing Settings?, borrowing SettingsLoader) throws -> Result
) throws -> Result {
  var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
  var loader = try SettingsLoader(scratch: &scratch)
  loader.load(input.text.span, name: "f".bytesOfLiteral.span, isReadableByOthers: input.isReadableByOthers)
  for (name, value) in input.environment {
    for index in 0..<EnvironmentVariable.count where Array(EnvironmentVariable.at(index).name).text == name {
      loader.apply(EnvironmentVariable.at(index), value: Array(text: value).span)
    }
  }
  for flag in input.flags { loader.apply(flag.key, value: Array(text: flag.value).span, flag: flag.name) }
  if loader.wantsTokenFile {
    if let token = input.tokenFile {
      loader.supplyToken(Array(text: token).span, isReadableByOthers: input.tokenIsReadableByOthers)
    } else {
      loader.noteTokenUnreadable(reason: "there is no such file")
    }
  }
  // Exactly what it says it needs: one byte less must not do.
  var arena = makeArena(byteCount: loader.settingsByteCount)
  let settings = try loader.finish(defaultID: Array(text: input.defaultID).span, into: &arena)
  return try body(settings, loader)
}

/// The complaints about `input`, one string each.
func complaints(_ input: Input) throws -> [String] {
  try load(input) { _, loader in
    (0..<loader.diagnostics.count).map { Array(loader.diagnostics.text(at: $0)).text }
  }
}

/// The complaints about a text.
func complaints(_ text: String) throws -> [String] { try complaints(Input(text)) }

/// Loads `input`, which must be without errors, and lends the settings to `body`.
func settings<Result>(_ input: Input, _ body: (borrowing Settings) throws -> Result) throws -> Result {
  try load(input) { settings, loader in
    guard settings != nil else {
      throw Unexpected(complaints: (0..<loader.diagnostics.count).map { Array(loader.diagnostics.text(at: $0)).text })
    }
    switch settings {
    case .some(let settings): return try body(settings)
    case .none: throw Unexpected(complaints: [])
    }
  }
}

/// Settings that should have been without errors were not.
struct Unexpected: Error {
  let complaints: [String]
}

/// The settings at work, as `mote check` shows them.
func description(_ input: Input) throws -> String {
  try settings(input) { settings in
    var buffer = makeBuffer(capacity: settings.descriptionBytesMax)
    buffer.append(settings)
    return buffer.text
  }
}

extension Settings {
  /// One of the texts, as a string.
  func string(_ text: Text) -> String { Array(bytes(text)).text }

  /// What is true of these settings, in words.
  var traits: [String] {
    var traits: [String] = []
    if isQuickstart { traits.append("is quickstart") }
    if hasToken { traits.append("has token") }
    if acceptsCommands { traits.append("accepts commands") }
    if sendsPlaintextToken { traits.append("sends plaintext token") }
    if leavesServerUnverified { traits.append("leaves server unverified") }
    return traits
  }
}

extension String {
  /// The bytes of a literal.
  var bytesOfLiteral: [UInt8] { Array(text: self) }
}

/// A `[device]` section of three lines without a mistake, and one event with a sensor in ten: what follows begins at
/// line 12.
let base = """
  [device]
  org = ab12cd
  type = edge
  auth-token = s3cr=t#;x
  [event status]
  interval = 10s
  qos = 1
  [sensor load]
  event = status
  read = loadavg:1


  """
