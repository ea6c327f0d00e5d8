// `[output NAME]`: what commands may set.

import Bytes
import Fieldbus
import HostInterface
import IoTPlatform

extension SettingsLoader {
  mutating func readOutputs(_ settings: inout Settings) {
    for section in 0..<sections.count where sections[section].kind == .output {
      let (kind, argument) = readPlace(of: section)
      let output = OutputSettings(
        name: settings.keep(bytes(sections[section].name)), kind: kind, argument: settings.keep(bytes(argument)),
        command: readCommandName(section, &settings), valueMax: integer(.valueMax, in: section),
        safe: integer(.safe, in: section), offline: duration(.offline, in: section),
        pause: duration(.pause, in: section))
      if output.safe > output.valueMax { reportValue(.safe, section, "; expected at most max") }
      if kind == .gpio, output.valueMax > 1 { reportValue(.valueMax, section, "; expected 1, as a line has no more") }
      _ = settings.outputs.append(output)
    }
  }

  private mutating func reportValue(_ key: Key, _ section: Int, _ message: StaticString) {
    guard let entry = winner(key, in: section) else { return }
    reportFound(.error, entry, message)
  }

  /// `write =`, taken apart, with a complaint where it is not understood.
  private mutating func readPlace(of section: Int) -> (OutputKind, Text) {
    guard let entry = winner(.write, in: section) else {
      reportMissing(.write, in: section, expected: "gpio:LINE, led:NAME or file:PATH")
      return (.gpio, .none)
    }
    let colon = bytes(entry.value).firstIndex(of: UInt8(ascii: ":")) ?? entry.value.count
    let argument = entry.value.dropFirst(min(colon + 1, entry.value.count))
    if let index = OutputKind.words.index(of: bytes(entry.value.prefix(colon))),
      let kind = OutputKind(rawValue: UInt8(index)), isValid(bytes(argument), of: kind)
    {
      return (kind, argument)
    }
    reportFound(
      .error, entry, "; expected gpio:LINE or gpio:CHIP/NUMBER, also with active-low, led:NAME, or file:PATH below /sys"
    )
    return (.gpio, .none)
  }

  private func isValid(_ argument: Span<UInt8>, of kind: OutputKind) -> Bool {
    switch kind {
    case .gpio: LineSource(argument)?.isForOutput ?? false
    case .led: !argument.isEmpty && argument.lastIndex(of: UInt8(ascii: "/")) == nil && argument[0] != UInt8(ascii: ".")
    case .file: argument.starts(with: "/sys/") && Values.isAbsolutePath(argument)
    }
  }

  /// The name of its command: its own unless another is given, which must be nobody else's.
  private mutating func readCommandName(_ section: Int, _ settings: inout Settings) -> Text {
    let entry = winner(.outputCommand, in: section)
    let name = entry?.value ?? sections[section].name
    var isTaken = self.section(.command, named: bytes(name)) != nil
    for index in 0..<settings.outputs.count
    where settings.bytes(settings.outputs[index].command).equals(bytes(name)) { isTaken = true }
    if isTaken || isReservedCommand(bytes(name)) || !IdentityRules.isValidTopicName(bytes(name)) {
      diagnostics.begin(.error, at: entry?.place ?? sections[section].place)
      diagnostics.add("found command ")
      diagnostics.add(quoted: name, of: text)
      diagnostics.add("; expected command = NAME, 1 to 36 of A-Z a-z 0-9 - _ ., that no other command has")
      diagnostics.end()
    }
    return settings.keep(bytes(name))
  }

  func isReservedCommand(_ name: Span<UInt8>) -> Bool { WordList("ping|publish|interval").index(of: name) != nil }
}
