# SPDX-License-Identifier: MIT
#
# Text in Perl: words made, counted, sorted, matched and joined again.  Argument: how many lines.
use strict;
use warnings;

my $lines = shift @ARGV;
my $state = 1;
my (%count, %places);

sub draw {
    my ($bound) = @_;
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return ($state >> 8) % $bound;
}

for my $number (1 .. $lines) {
    my $line = join ' ', map { 'w' . (draw(1000) * draw(30)) . 'x' x draw(20) } 1 .. 12;
    $line =~ s/x(\d)/-$1/g;
    for my $word (split / /, $line) {
        $count{$word}++;
        push @{ $places{$word} }, $number if draw(4) == 0;
    }
}
my @often = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
print "$_ $count{$_} ", scalar @{ $places{$_} // [] }, "\n" for @often;
my %by_length;
push @{ $by_length{ length $_ } }, uc for grep { /^w[0-9]{3,}x+$/ } keys %count;
print join(',', map { "$_:" . @{ $by_length{$_} } } sort { $a <=> $b } keys %by_length), "\n";
