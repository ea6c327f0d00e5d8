// Commands that are nearly known.

import ArgumentParser

/// Looks for the first word that should name a command and does not; nil where all of them do. The words behind a
/// command that has no others below it are its own affair.
///
/// - Returns: What to tell the person, with the nearest known command.
func misspelledCommand(_ words: [String], of root: any ParsableCommand.Type) -> String? {
  var command = root
  var path = root.configuration.commandName ?? ""
  var words = words[...]
  let isHelp = words.first == "help"
  if isHelp { words.removeFirst() }
  for word in words {
    let below = command.configuration.subcommands
    guard !below.isEmpty, word != "help" else { return nil }
    if word.hasPrefix("-") { return misspelledOption(word, path) }
    guard let next = below.first(where: { name(of: $0) == word }) else {
      let near = nearest(to: word, of: below.map(name)).map { "'\(path) \($0)'" }.joined(separator: " or ")
      let question = near.isEmpty ? "; " : ": did you mean \(near)? "
      return "there is no command '\(path) \(word)'\(question)'\(path) --help' lists them."
    }
    command = next
    path += " " + word
  }
  return nil
}

/// The options that stand in front of any command; their own parser suggests none of them.
private func misspelledOption(_ word: String, _ path: String) -> String? {
  let known = ["--help", "--version", "--generate-completion-script"]
  guard word.hasPrefix("--"), !known.contains(where: word.hasPrefix), let near = nearest(to: word, of: known).first
  else { return nil }
  return "there is no option '\(word)': did you mean '\(path) \(near)'?"
}

/// What a command is called: as it says itself, or as its type is.
private func name(of command: any ParsableCommand.Type) -> String {
  command.configuration.commandName ?? "\(command)".lowercased()
}

/// The names that are nearest to `word`: those in which the fewest characters would have to change, up to a third; else
/// those that begin with it.
func nearest(to word: String, of names: [String]) -> [String] {
  let ranked = names.map { (name: $0, distance: editDistance(word.lowercased(), $0)) }
  let best = ranked.map(\.distance).min() ?? 0
  let near = ranked.filter { $0.distance == best && best <= max(1, $0.name.count / 3) }.map(\.name)
  return near.isEmpty && word.count > 1 ? names.filter { $0.hasPrefix(word) } : near
}

/// How many characters must be put in, left out, replaced, or swapped with their neighbour.
func editDistance(_ first: String, _ second: String) -> Int {
  let first = Array(first)
  let second = Array(second)
  var older: [Int] = []
  var old = Array(0...second.count)
  for row in first.indices {
    var new = [row + 1]
    for column in second.indices {
      var best = min(old[column + 1] + 1, new[column] + 1)
      best = min(best, old[column] + (first[row] == second[column] ? 0 : 1))
      if row > 0, column > 0, first[row] == second[column - 1], first[row - 1] == second[column] {
        best = min(best, older[column - 1] + 1)
      }
      new.append(best)
    }
    older = old
    old = new
  }
  return old[second.count]
}
