// Feeds configuration texts to the loader. Whatever the text: nothing traps, settings exist exactly when there are no
// errors, complaints can be printed, a token is not in them, and the settings' description is a configuration that
// means the same.

import AgentConfiguration
import Bytes
import HostInterface

/// Memory that lasts for the whole run; `zeroed` makes it as good as new.
private struct Block: @unchecked Sendable {
  let start: UnsafeMutableRawPointer
  let count: Int

  init(_ count: Int) {
    start = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16)
    self.count = count
  }

  func zeroed() -> Region {
    start.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    return Region(start: start, count: count)
  }
}

private let scratchBlock = Block(SettingsLoader.scratchByteCount)
private let settingsBlock = Block(256 * 1024)
private let descriptionBlock = Block(512 * 1024)
private let token = "Zq7vXk29pLmW"
private let tokenStart = Array("Zq7v".utf8)

/// What libFuzzer calls with each text.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var text = Array(UnsafeBufferPointer(start: start, count: count))
  // Texts of odd length get a token behind them, which must not be shown unless the text itself has its beginning.
  let hasToken = count % 2 == 1 && !contains(text.span, tokenStart)
  if hasToken { text += Array("\nauth-token = \(token)\n".utf8) }
  guard let description = load(text, tokenIsHidden: hasToken) else { return 0 }
  // Blanks around `=` may make a line longer than it was, and too long.
  guard count < 2000 else { return 0 }
  guard let again = load(description, tokenIsHidden: false, needsToken: true) else {
    fatalError("the description is refused: \(String(decoding: description, as: UTF8.self))")
  }
  precondition(again == description, "the description means something else")
  return 0
}

/// The description of the settings that `text` makes; nil when there are errors.
private func load(_ text: [UInt8], tokenIsHidden: Bool, needsToken: Bool = false) -> [UInt8]? {
  var scratch = Arena(scratchBlock.zeroed())
  var arena = Arena(settingsBlock.zeroed())
  guard var loader = try? SettingsLoader(scratch: &scratch) else { fatalError("scratch") }
  loader.load(text.span, name: Array("f".utf8).span)
  if loader.wantsTokenFile {
    loader.supplyToken(Array("x\n".utf8).span, isReadableByOthers: false)
  } else if needsToken, contains(text.span, Array("# auth-token is set".utf8)) {
    loader.apply(.token, value: Array("x".utf8).span, flag: "--token")
  }
  precondition(loader.settingsByteCount <= settingsBlock.count)
  let byteCount = loader.settingsByteCount
  let made: Settings?
  do { made = try loader.finish(defaultID: Array("id".utf8).span, into: &arena) } catch { fatalError("settings") }
  precondition(arena.byteCount <= byteCount, "settings need more than they say")
  check(loader.diagnostics, tokenIsHidden: tokenIsHidden)
  switch made {
  case .none:
    precondition(loader.diagnostics.errorCount > 0, "refused without an error")
    return nil
  case .some(let settings):
    precondition(loader.diagnostics.errorCount == 0, "accepted with an error")
    check(settings)
    var buffer = ByteBuffer(descriptionBlock.zeroed())
    precondition(settings.descriptionBytesMax <= buffer.capacity)
    buffer.append(settings)
    precondition(buffer.count <= settings.descriptionBytesMax, "the description is longer than it says")
    let description = bytes(of: buffer.span)
    if tokenIsHidden { precondition(!contains(description.span, tokenStart), "the token is shown") }
    return description
  }
}

private func check(_ diagnostics: borrowing Diagnostics, tokenIsHidden: Bool) {
  precondition(diagnostics.surplusCount >= 0)
  precondition(diagnostics.count + diagnostics.surplusCount == diagnostics.errorCount + diagnostics.warningCount)
  for index in 0..<diagnostics.count {
    let line = bytes(of: diagnostics.text(at: index))
    precondition(line.span.firstInvalidUTF8() == nil, "a complaint is not UTF-8")
    precondition(!line.contains { $0 < 0x20 || $0 == 0x7F }, "a complaint has control characters")
    if tokenIsHidden { precondition(!contains(line.span, tokenStart), "the token is shown") }
  }
}

private func check(_ settings: borrowing Settings) {
  for index in 0..<settings.sensors.count {
    precondition(settings.sensors[index].event < settings.events.count, "a sensor without an event")
  }
  precondition(settings.server.host.count > 0 && settings.server.port > 0)
  precondition(settings.isQuickstart != settings.hasToken)
}

private func bytes(of span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}

private func contains(_ text: Span<UInt8>, _ piece: [UInt8]) -> Bool {
  guard text.count >= piece.count else { return false }
  for start in 0...(text.count - piece.count)
  where text.extracting(start..<(start + piece.count)).equals(piece.span) { return true }
  return false
}
