// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Programs that know nothing of the mount.</summary>
public sealed class ProgramTests
{
    // A tree with what trees have: many small files, a large one, links of both kinds, odd names and modes.
    private const string MakeTree = """
        mkdir -p tree/deep/er "tree/a name with spaces"
        for i in $(seq 200); do echo "contents of $i" > tree/deep/f$i; done
        dd if=/dev/urandom of=tree/large bs=1M count=5 2>/dev/null
        ln tree/deep/f1 tree/deep/er/hard
        ln -s ../large tree/deep/soft
        chmod 640 tree/deep/f2
        truncate -s 3M tree/sparse
        mkfifo tree/pipe
        touch -d '1999-12-31 23:59:59.123456789' tree/deep/f3

        """;

    [Fact]
    public void Tar_copies_a_tree_both_ways()
    {
        Requires.Program("tar");
        using Mounted at = new();
        at.Shell(MakeTree + """
            tar cf a.tar tree
            mkdir back && tar xf a.tar -C back
            tar cf b.tar -C back tree
            cmp a.tar b.tar
            diff -r --no-dereference -x pipe tree back/tree
            find tree | wc -l; du -s tree >/dev/null
            """);
    }

    [Fact]
    public void Git_clones_and_finds_nothing_broken()
    {
        Requires.Program("git");
        using Mounted at = new();
        string status = at.Shell(MakeTree + """
            rm tree/pipe; cd tree; git init -q; git add .; git -c user.name=t -c user.email=t@localhost commit -qm first
            cd ..; git clone -q --no-hardlinks tree clone; cd clone; git fsck --full --strict; git status --porcelain
            """);
        Assert.Equal("", status);
    }

    [Fact]
    public void A_program_of_a_hundred_files_is_built()
    {
        Requires.Program("make");
        Requires.Program("gcc");
        using Mounted at = new();
        string sum = at.Shell("""
            for i in $(seq 100); do echo "int f$i(void) { return $i; }" > f$i.c; done
            (for i in $(seq 100); do echo "int f$i(void);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'
             for i in $(seq 100); do echo "s += f$i();"; done; echo 'printf("%d", s); puts(""); return 0; }') > main.c
            printf 'prog: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\t@gcc -o $@ $^\n%%.o: %%.c\n\t@gcc -c -o $@ $<\n' > Makefile
            make -s -j2; ./prog
            """);
        Assert.Equal("5050\n", sum);
    }

    [Fact]
    public void Sqlite_keeps_its_databases_whole()
    {
        Requires.Program("sqlite3");
        using Mounted at = new();
        string said = at.Shell("""
            for mode in delete wal; do
              sqlite3 $mode.db "pragma journal_mode=$mode; create table t(i integer primary key, b blob);" >/dev/null
              for round in 1 2 3; do
                (while :; do echo "insert into t(b) values (randomblob(3000));"; done) | sqlite3 $mode.db & writer=$!
                n=0; while [ "$n" -lt $((round * 20)) ]; do n=$(sqlite3 -cmd '.timeout 5000' $mode.db 'select count(*) from t'); done
                kill -9 $writer; wait $writer 2>/dev/null || true
                sqlite3 -cmd '.timeout 5000' $mode.db 'pragma integrity_check'
              done
            done
            """);
        Assert.Equal(string.Concat(Enumerable.Repeat("ok\n", 6)), said);
    }

    [Fact]
    public void Rsync_and_cp_copy_everything_they_can_name()
    {
        Requires.Program("rsync");
        using Mounted at = new();
        string differences = at.Shell(MakeTree + """
            rsync -aH tree/ copy/
            rsync -aHn --itemize-changes --checksum tree/ copy/
            cp -a --reflink=auto tree second
            diff -r --no-dereference -x pipe tree second
            """);
        Assert.Equal("", differences);
    }

    [Fact]
    public void Random_writes_read_back_through_the_cache_and_through_maps()
    {
        Requires.Program("fio");
        using Mounted at = new();
        at.Shell("""
            fio --name=w --rw=randwrite --size=8m --bs=4k --verify=crc32c --ioengine=psync --filename=w.dat --minimal >/dev/null
            fio --name=m --rw=randrw --size=8m --bs=4k --verify=crc32c --ioengine=mmap --filename=m.dat --minimal >/dev/null
            """);
        Assert.Equal(8 << 20, Posix.Stat(at["w.dat"]).Size);
    }

    [Fact]
    public void A_large_directory_is_listed_once_each_while_it_shrinks()
    {
        using Mounted at = new();
        Assert.Equal("3000\n0\n", at.Shell("mkdir l; cd l; seq 3000 | xargs touch; ls | wc -l; rm -r ../l/*; ls | wc -l"));
    }
}
