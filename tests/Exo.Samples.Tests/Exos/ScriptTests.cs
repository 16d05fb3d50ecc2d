// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Tests;

namespace Exo.Samples.Tests.Exos;

/// <summary>Scripts and what they print, written down beside (the exit status is the last line).</summary>
public sealed class ScriptTests
{
    [Fact]
    public void Words() => Snapshot.Verify(Transcript(
        "echo plain 'single $HOME' \"double $HOME\" back\\ slash",
        "X='a  b'; echo $X; echo \"$X\"; echo '$X'",
        "echo $1 \"$2\" $# $0; for p in \"$@\"; do echo \"<$p>\"; done",
        "echo ${HOME}/x ~ ~/y '~'; echo $nothing\"\" end",
        "echo \"$(echo inner; echo more)\" $(echo a    b)",
        "shift; echo $1; shift; shift; echo $?",
        "X=1; (X=2; echo $X); echo $X; X=3 sh -c 'echo $X'; echo $X",
        "Y=only; sh -c 'echo [$Y]'; export Y; sh -c 'echo [$Y]'; unset Y; echo [$Y]",
        "echo 'two\nlines' # a comment",
        "X='a\\nb\n\\'; echo \"$X\""));

    [Fact]
    public void Lists() => Snapshot.Verify(Transcript(
        "true && echo and || echo or; false && echo and || echo or",
        "! true; echo $?; ! false; echo $?; false; echo $?",
        "if false; then echo a; elif true; then echo b; else echo c; fi",
        "i=xxx; while test \"$i\" != x; do echo $i; case=$i; i=$(echo $i | head -n 1); test $i = xxx && i=xx || i=x; done",
        "for a in 1 2; do for b in x y; do echo $a$b; done; done",
        "until true; do echo never; done; echo $?",
        "{ echo one; echo two; } | sort -r; ( exit 3 ); echo $?",
        "exit 5; echo never",
        "sh -c 'kill -TERM $$'; echo $?",
        "test -d /bin && [ -f /bin/ls ] && test 3 -lt 10 && test a != b && echo yes",
        "nosuch; echo $?; /bin; echo $?; /tmp/nosuch; echo $?"));

    [Fact]
    public void Redirections() => Snapshot.Verify(Transcript(
        "cd /tmp; echo one > f; echo two >> f; cat < f; cat f nosuch 2> err; cat err; wc -l < f",
        "cd /tmp; { cat nosuch; echo out; } > both 2>&1; cat both; cat nosuch 2>/dev/null; echo $?",
        "cd /tmp; echo x > a > b; ls -d a b; cat a b; cat < nosuch; echo $?",
        "cd /tmp; exec > log; exit 3",
        "cd /tmp; (echo sub; echo err >&2) 2>&1 | sort",
        "echo a | cat | cat | tee /tmp/t | wc -c; cat /tmp/t",
        "yes | head -n 3; yes no | head -n 1 | cat; echo $?"));

    [Fact]
    public void Patterns() => Snapshot.Verify(Transcript(
        "cd /tmp; echo > a1; echo > a2; echo > b1; mkdir d; echo > d/x; echo a* '*' \"a*\" [ab]1 ?2 z* */x /bin/t*e",
        "cd /tmp; echo > .hidden; echo *; echo .h*; ls; ls -a; X='*'; echo $X \"$X\"; find . -name 'x*' -o 2>/dev/null; echo $?",
        "cd /tmp; mkdir -p p/q/r; echo > p/q/f.txt; echo > p/g.txt; find p; find p -name '*.txt'; find p -type d"));

    [Fact]
    public void Tools() => Snapshot.Verify(Transcript(
        "cd /tmp; mkdir -p s/t; echo one > s/a; echo two > s/t/b; ln -s a s/link; cp -r s c; find c; cat c/link; mv c m; ls m; rm m/a; rm -r m; ls; rm nosuch; echo $?; rm -f nosuch; echo $?",
        "cd /tmp; mkdir -p s/t; echo one > s/a; echo two > s/t/b; ln s/a s/t/a; ln -s a s/link; xcp -v s x; find x; cat x/link x/t/b; echo three > x/a; cat x/t/a s/a; xcp s x; find x/s -type d; xcp s x; echo $?",
        "cd /tmp; mkdir -p s/t; echo one > s/a; xcp s s/t/in; find s; xcp s/a f; cat f; xcp /proc p; echo $?; xcp s nosuch/x; echo $?; xcp s; echo $?; cp s x 2>&1",
        "cd /tmp; echo old > f; ln f g; echo new > f; cat g; ls -l f | wc -w; stat nosuch; echo $?; mv f /proc/f; echo $?; ls f",
        "cd /tmp; for w in pear apple fig apple; do echo $w; done > w; sort w; sort -u w; sort -r w | head -n 1; tail -n 2 w; grep -n a w; grep -c apple w; grep -v p w; grep -i PEAR w; grep zebra w; echo $?; grep '[' w; echo $?",
        "cd /tmp; for n in 10 9 100; do echo $n; done | sort -n; echo a b > w; wc w /tmp/w; wc -w w; tee t1 t2 < w; cat t1 t2; tee -a t1 < w | cat > /dev/null; wc -l t1",
        "echo -n no feed; echo; head -n x; echo $?; ls -Q; echo $?; sleep never; echo $?; kill 9999; echo $?; kill -NOSUCH 1; echo $?",
        "cd /nowhere; echo $?; cd /tmp; pwd; cd; pwd; mkdir a/b/c; echo $?; mkdir /bin; rm /bin; echo $?; rm -r /; echo $?"));

    [Fact]
    public void Jobs() => Snapshot.Verify(Transcript(
        "sleep 0.05 & wait $!; echo $?; (exit 4) & wait $!; echo $?; wait; echo $?",
        "sleep 100 & kill $!; wait $!; echo $?; sleep 100 & kill -KILL $!; wait; jobs; echo none",
        "cat & wait $!; echo background input is empty $?",
        "(sleep 0.02; echo late) & echo early; wait",
        "wait 9999; echo $?"));

    [Fact]
    public void The_exokernel_is_visible() => Snapshot.Verify(Transcript(
        "ls /proc | grep -v '^[0-9]'; ls /proc/1; grep -c total /proc/frames; grep -c '^blocks' /proc/freemap; grep cffs /proc/roots | wc -l; head -n 1 /proc/registry | wc -w",
        "ps > /tmp/ps; grep -c init /tmp/ps; grep Name /proc/1/status; cat /proc/1/cmdline; ls /proc/9999; echo $?; echo x > /proc/frames; echo $?; cat /proc",
        "sleep 100 & while ! grep asleep /proc/$!/status; do true; done; kill $!; sh -c 'wc -l < /proc/$$/cmdline\nexit'; help | wc -l; help | grep -c xcp",
        "X=1; wc -l < /proc/$$/maps; cat /proc/$$/fd; grep -c environment /proc/slices",
        "mount | grep -v ' on / '; df | wc -l; ls /dev; echo gone > /dev/null; umount /; echo $?; umount /tmp; echo $?"));

    [Fact]
    public void Standard_input_is_read_no_further_than_the_line()
    {
        string output = ExosBench.Script("sh; echo outer; cat", input: "echo inner\nhead -n 1\nthis is for head, which takes more\n");
        Assert.Equal("inner\nthis is for head, which takes more\nouter\n[0]\n", output);
    }

    [Fact]
    public void A_script_of_the_disks_own_is_executed() => Assert.Equal(
        "script with a and b\n[0]\n",
        ExosBench.Script("echo '#!/bin/sh' > /tmp/s; echo 'echo script with $1 and $2' >> /tmp/s; cp /bin/ls /tmp/x; cat /tmp/s > /tmp/x; /tmp/x a b"));

    private static string Transcript(params string[] scripts)
    {
        StringBuilder transcript = new();
        foreach (string script in scripts)
        {
            transcript.Append("$ ").Append(script).Append('\n').Append(ExosBench.Script(script)).Append('\n');
        }

        return transcript.ToString();
    }
}
