// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Files;
using ExOS.Tools;

namespace ExOS.Shell;

/// <summary>Patterns of names: <c>*</c>, <c>?</c>, <c>[a-z]</c>, <c>[!a]</c>; a backslash makes the next character an ordinary one.</summary>
internal static class Glob
{
    public static bool IsPattern(string pattern)
    {
        for (int i = 0; i < pattern.Length; i++)
        {
            if (pattern[i] == '\\')
            {
                i++;
            }
            else if (pattern[i] is '*' or '?' or '[')
            {
                return true;
            }
        }

        return false;
    }

    public static string Escape(string text)
    {
        StringBuilder escaped = new();
        foreach (char c in text)
        {
            _ = c is '*' or '?' or '[' or ']' or '\\' ? escaped.Append('\\').Append(c) : escaped.Append(c);
        }

        return escaped.ToString();
    }

    public static string Unescape(string pattern)
    {
        StringBuilder text = new();
        for (int i = 0; i < pattern.Length; i++)
        {
            i += pattern[i] == '\\' && i + 1 < pattern.Length ? 1 : 0;
            text.Append(pattern[i]);
        }

        return text.ToString();
    }

    /// <summary>The paths that a pattern stands for, sorted; the pattern itself without its backslashes if there is none.</summary>
    public static List<string> Expand(FileCalls files, string pattern)
    {
        if (!IsPattern(pattern))
        {
            return [Unescape(pattern)];
        }

        List<string> paths = [pattern.StartsWith('/') ? "/" : ""];
        string[] names = pattern.Split('/', StringSplitOptions.RemoveEmptyEntries);
        for (int i = 0; i < names.Length; i++)
        {
            List<string> longer = [];
            foreach (string path in paths)
            {
                longer.AddRange(Step(files, path, names[i], isLast: i == names.Length - 1));
            }

            paths = longer;
        }

        return paths.Count > 0 ? paths : [Unescape(pattern)];
    }

    /// <summary>Whether a name matches. A star is tried again only at the last star (no exponential search).</summary>
    public static bool IsMatch(string pattern, string name)
    {
        int p = 0;
        int n = 0;
        int star = -1;
        int resume = 0;
        while (n < name.Length)
        {
            if (p < pattern.Length && pattern[p] == '*')
            {
                star = p++;
                resume = n;
            }
            else if (p < pattern.Length && MatchesOne(pattern, p, name[n], out int next))
            {
                (p, n) = (next, n + 1);
            }
            else if (star >= 0)
            {
                (p, n) = (star + 1, ++resume);
            }
            else
            {
                return false;
            }
        }

        return pattern[p..].All(c => c == '*');
    }

    private static IEnumerable<string> Step(FileCalls files, string path, string name, bool isLast)
    {
        if (!IsPattern(name))
        {
            string next = Join(path, Unescape(name));
            return files.TryStat(next) is { } found && (isLast || found.IsDirectory) ? [next] : [];
        }

        string directory = path.Length == 0 ? "." : path;
        if (files.TryStat(directory) is not { IsDirectory: true })
        {
            return [];
        }

        return files.List(directory).Where(found => (found[0] != '.' || name[0] == '.') && IsMatch(name, found)).Select(found => Join(path, found))
            .Where(next => isLast || files.TryStat(next) is { IsDirectory: true });
    }

    private static string Join(string path, string name) => path.Length == 0 ? name : Tool.Join(path, name);

    private static bool MatchesOne(string pattern, int at, char c, out int next)
    {
        next = at + 1;
        switch (pattern[at])
        {
            case '?':
                return true;
            case '\\' when at + 1 < pattern.Length:
                next = at + 2;
                return pattern[at + 1] == c;
            case '[' when pattern.IndexOf(']', at + 2 < pattern.Length ? at + 2 : at) is > 0 and int end:
                next = end + 1;
                bool isNegated = pattern[at + 1] is '!' or '^';
                return MatchesSet(pattern[(at + (isNegated ? 2 : 1))..end], c) != isNegated;
            default:
                return pattern[at] == c;
        }
    }

    private static bool MatchesSet(string set, char c)
    {
        for (int i = 0; i < set.Length; i++)
        {
            if (i + 2 < set.Length && set[i + 1] == '-')
            {
                if (c >= set[i] && c <= set[i + 2])
                {
                    return true;
                }

                i += 2;
            }
            else if (set[i] == c)
            {
                return true;
            }
        }

        return false;
    }
}
