// What a configuration names and a machine lacks: found by whoever can look at it, told at its place.

import Bytes

/// Something on the machine that a configuration names.
public enum NamedThing: Equatable, Sendable {
  /// The certificates that are trusted.
  case trust
  /// What the sensor at this index reads.
  case sensor(Int)
  /// The program of the command or action at this index.
  case command(Int)
  /// The program that installs an image.
  case installer
  /// The keys that images are signed with.
  case keys
  /// Where images are kept.
  case images
  /// The programs that restart and reset the machine.
  case reboot, factoryReset
  /// The file that says where the device is.
  case location
}

extension SettingsLoader {
  /// Warns that something named cannot work here and now: what is so, why in a word, and what to do.
  @inline(never)
  public mutating func report(
    _ thing: NamedThing, _ fault: StaticString, _ reason: Span<UInt8>, _ remedy: Span<UInt8>
  ) {
    if let entry = entry(of: thing) {
      beginFound(.warning, entry)
    } else {
      // Nobody has said where certificates are.
      diagnostics.begin(.warning, at: mainPlace)
      diagnostics.add("ca-file: found \"system\"")
    }
    diagnostics.add(", ")
    diagnostics.add(fault)
    diagnostics.add(" (")
    diagnostics.add(plain: reason)
    diagnostics.add("); ")
    diagnostics.add(plain: remedy)
    diagnostics.end()
  }

  private func entry(of thing: NamedThing) -> Entry? {
    switch thing {
    case .trust: winner(.caFile) ?? winner(.rootCertificateFile) ?? winner(.serverCertificateFile)
    case .sensor(let index): winner(.read, in: section(.sensor, at: index))
    case .reboot: winner(.reboot)
    case .location: winner(.locationFile)
    case .factoryReset: winner(.factoryReset)
    case .command(let index): winner(.run, in: programSection(at: index))
    case .installer: winner(.installerRun)
    case .keys: winner(.keyFile)
    case .images: winner(.installer) ?? winner(.keyFile) ?? winner(.installerRun)
    }
  }

  /// The section of the program at `index`: those of actions come behind those of commands.
  private func programSection(at index: Int) -> Int {
    let commandCount = count(of: .command)
    return index < commandCount ? section(.command, at: index) : section(.action, at: index - commandCount)
  }

  /// The section at `index` among those of its kind; the first of all where there is none.
  func section(_ kind: SectionKind, at index: Int) -> Int {
    for section in 0..<sections.count where sections[section].kind == kind && sections[section].ordinal == index {
      return section
    }
    return 0
  }
}
