"""What learners may write instead in 23, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

MISTAKES = [
    # elias_gamma_encode
    Mistake(
        "elias_gamma_encode",
        "digits_alone",
        "these are the binary digits alone: a receiver who sees 10 can't know whether another digit follows. "
        "Put the zeros first.",
        {'"0" * (len(digits) - 1) + digits': "digits"},
    ),
    Mistake(
        "elias_gamma_encode",
        "one_zero_too_many",
        "there is a zero too many: k + 1 digits need k zeros, for the leading 1 counts itself.",
        {"len(digits) - 1": "len(digits)"},
    ),
    Mistake(
        "elias_gamma_encode",
        "unary_of_n",
        "there are n - 1 zeros. The zeros count the digits of n, not n itself.",
        {"(len(digits) - 1)": "(n - 1)"},
    ),
    Mistake(
        "elias_gamma_encode",
        "prefix_of_ones",
        "the prefix is made of ones, so it can't be told from the digits, which begin with a 1. Use zeros.",
        {'"0" * (len': '"1" * (len'},
    ),
    Mistake(
        "elias_gamma_encode",
        "digits_first",
        "the zeros come after the digits. The receiver reads from the left and needs to know the length first.",
        {'"0" * (len(digits) - 1) + digits': 'digits + "0" * (len(digits) - 1)'},
    ),
    Mistake(
        "elias_gamma_encode",
        "leading_one_dropped",
        "the leading 1 is dropped, and with it the mark that ends the zeros.",
        {"(len(digits) - 1) + digits": "(len(digits) - 1) + digits[1:]"},
    ),
    Mistake(
        "elias_gamma_encode",
        "starts_at_zero",
        "this is the code of n + 1: it has a codeword for 0, and all others are shifted.",
        {"if n < 1": "if n < 0", 'f"{n:b}"': 'f"{n + 1:b}"'},
    ),
    Mistake(
        "elias_gamma_encode",
        "nothing_is_refused",
        "0 and negative numbers get a codeword, which no decoder can read. Raise ValueError for what is below 1.",
        {"if n < 1": "if False"},
    ),
    # elias_gamma_decode
    Mistake(
        "elias_gamma_decode",
        "whole_stream_read",
        "all of the stream is read as one number. After k zeros only k + 1 digits belong to it.",
        {"bits[zeros:end]": "bits[zeros:]"},
    ),
    Mistake(
        "elias_gamma_decode",
        "one_digit_short",
        "a digit is missing: k zeros announce k + 1 digits, 2k + 1 characters in all.",
        {"end = 2 * zeros + 1": "end = max(2 * zeros, 1)"},
    ),
    Mistake(
        "elias_gamma_decode",
        "rest_from_the_digits_on",
        "the rest still holds the digits that were read: it begins where the codeword ends.",
        {"bits[end:]": "bits[zeros:]"},
    ),
    Mistake(
        "elias_gamma_decode",
        "rest_missing",
        "what remains is thrown away: the next codeword is in it.",
        {", bits[end:]": ', ""'},
    ),
    Mistake(
        "elias_gamma_decode",
        "decimal",
        "the digits are read as a decimal number. They are binary: int(…, 2).",
        {"int(bits[zeros:end], 2)": "int(bits[zeros:end])"},
    ),
    Mistake(
        "elias_gamma_decode",
        "number_of_digits",
        "this is how many digits the number has, not the number.",
        {"int(bits[zeros:end], 2)": "zeros + 1"},
    ),
    Mistake(
        "elias_gamma_decode",
        "cut_stream_accepted",
        "a stream that ends inside a codeword is read as if it were whole. Raise ValueError.",
        {" or end > len(bits)": ""},
    ),
    Mistake(
        "elias_gamma_decode",
        "zeros_alone_accepted",
        "a stream without a 1 is not refused: str.find gives -1 there. Raise ValueError.",
        {
            "zeros < 0 or end > len(bits)": "zeros >= 0 and end > len(bits)",
            "return int(bits": 'return zeros < 0 or int("0" + bits',
        },
    ),
    # huffman
    Mistake(
        "huffman",
        "lone_symbol_is_free",
        "a single symbol gets the empty codeword: then n of them can't be told from none. It still needs one bit here.",
        {'dict.fromkeys(counts, "0")': 'dict.fromkeys(counts, "")'},
    ),
    Mistake(
        "huffman",
        "largest_merged",
        "the two largest counts are merged, so frequent symbols get the longest codewords. Merge the two smallest.",
        {"[(count, tie, [symbol])": "[(-count, tie, [symbol])"},
    ),
    Mistake(
        "huffman",
        "sum_not_used",
        "a merged pair weighs as much as one of its members. It must weigh their sum.",
        {"(small + large, small_tie": "(small, small_tie"},
    ),
    Mistake(
        "huffman",
        "pair_weighs_its_larger_member",
        "a merged pair weighs as much as its larger member. It must weigh the sum of both.",
        {"(small + large, small_tie": "(max(small, large), small_tie"},
    ),
    Mistake(
        "huffman",
        "bits_appended_at_the_end",
        "bits are put behind what a codeword has. Merging goes from the leaves to the root, so a later bit belongs in "
        "front; like this one codeword may begin another.",
        {"bit + codes[symbol]": "codes[symbol] + bit"},
    ),
    Mistake(
        "huffman",
        "one_side_only",
        "only one of the two merged groups gets a bit, so the two can't be told apart.",
        {'(("0", left), ("1", right))': '(("0", left),)'},
    ),
    Mistake(
        "huffman",
        "same_bit_for_both",
        "both merged groups get the same bit, so they can't be told apart.",
        {'("1", right)': '("0", right)'},
    ),
    Mistake(
        "huffman",
        "flat_code",
        "every codeword has the same length. That is optimal only if no symbol is much rarer than the others.",
        {
            "    return codes": "    width = max(1, (len(counts) - 1).bit_length())\n"
            '    return {symbol: f"{i:0{width}b}" for i, symbol in enumerate(counts)}\n'
        },
    ),
    Mistake(
        "huffman",
        "unary_by_rank",
        "symbols are sorted by count and get 0, 10, 110, …: prefix-free, but optimal only for very uneven counts.",
        {
            "    return codes": "    ranked = sorted(counts, key=counts.get, reverse=True)\n"
            '    return {symbol: "1" * i + "0" * (i < len(ranked) - 1) for i, symbol in enumerate(ranked)}\n'
        },
    ),
    Mistake(
        "huffman",
        "shannon_lengths",
        "lengths are ceil(-log2 p): they satisfy Kraft's inequality, but with room to spare. Merging does better.",
        {
            "    return codes": "    total, used, found = sum(counts.values()), 0.0, {}\n"
            "    for symbol in sorted(counts, key=counts.get, reverse=True):\n"
            "        length = max(1, math.ceil(math.log2(total / counts[symbol])))\n"
            '        found[symbol] = f"{int(used * 2**length):0{length}b}"\n'
            "        used += 2.0**-length\n"
            "    return found\n"
        },
    ),
    Mistake(
        "huffman",
        "rarest_symbol_lost",
        "the rarest symbol has no codeword. Every symbol that is counted needs one.",
        {"    return codes": "    codes.pop(min(counts, key=counts.get))\n    return codes"},
    ),
    # two_part_poly_bits
    Mistake(
        "two_part_poly_bits",
        "variance_not_counted",
        "the noise's variance is not counted as a parameter: k is degree + 2.",
        {"degree + 2": "degree + 1"},
    ),
    Mistake(
        "two_part_poly_bits",
        "degree_as_count",
        "k is the degree. A polynomial of degree d has d + 1 coefficients, and the noise has a variance.",
        {"degree + 2": "degree"},
    ),
    Mistake(
        "two_part_poly_bits",
        "nats",
        "both parts are in nats: bits take the logarithm to base 2.",
        {"math.log2": "math.log"},
    ),
    Mistake(
        "two_part_poly_bits",
        "model_in_nats",
        "the model part is in nats and the data part in bits, so they can't be added.",
        {"math.log2(n)": "math.log(n)"},
    ),
    Mistake(
        "two_part_poly_bits",
        "data_in_nats",
        "the data part is in nats and the model part in bits, so they can't be added.",
        {"math.log2(2 * math.pi": "math.log(2 * math.pi"},
    ),
    Mistake(
        "two_part_poly_bits",
        "unbiased_variance",
        "RSS is divided by n - k. The code uses the most likely variance, RSS / n; k is paid for in the model part.",
        {"* rss / n)": "* rss / (n - degree - 1))"},
    ),
    Mistake(
        "two_part_poly_bits",
        "rss_not_divided",
        "the variance is RSS / n, and here RSS itself stands in its place.",
        {"* rss / n)": "* rss)"},
    ),
    Mistake(
        "two_part_poly_bits",
        "e_missing",
        "the factor e is missing: it is the residuals' own share, n/2 nats.",
        {"2 * math.pi * math.e * rss": "2 * math.pi * rss"},
    ),
    Mistake(
        "two_part_poly_bits",
        "bic",
        "the factor one half is missing in both parts: that is the BIC's scale, twice the description length.",
        {"0.5 * k": "k", "0.5 * n": "n"},
    ),
    Mistake(
        "two_part_poly_bits",
        "aic",
        "a parameter costs the same whatever n is, as in AIC. Here its price is half of log2 n.",
        {"0.5 * k * math.log2(n)": "k / math.log(2)"},
    ),
    Mistake(
        "two_part_poly_bits",
        "32_bits_per_parameter",
        "every parameter costs 32 bits. It need not be sent more precisely than n points can tell: 1/2 log2 n.",
        {"0.5 * k * math.log2(n)": "32.0 * k"},
    ),
    # nml_complexity_bits
    Mistake(
        "nml_complexity_bits",
        "nats",
        "the result is in nats: take the logarithm to base 2 at the end.",
        {"math.log2(total)": "math.log(total)"},
    ),
    Mistake(
        "nml_complexity_bits",
        "not_a_logarithm",
        "this is the sum itself. COMP is its logarithm, in bits.",
        {"math.log2(total)": "total"},
    ),
    Mistake(
        "nml_complexity_bits",
        "sequences_not_counted",
        "the binomial coefficient is missing: there are many sequences with k ones.",
        {"nats = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)": "nats = 0.0"},
    ),
    Mistake(
        "nml_complexity_bits",
        "zero_ones_left_out",
        "the sum begins at k = 1: the sequence without a one is a sequence too.",
        {"for k in range(n + 1)": "for k in range(1, n + 1)"},
    ),
    Mistake(
        "nml_complexity_bits",
        "constant_sequences_left_out",
        "the sequences that are all alike are left out; 0 to the power 0 is 1.",
        {"for k in range(n + 1)": "for k in range(1, n)", "math.log2(total)": "math.log2(max(total, 1e-300))"},
    ),
    Mistake(
        "nml_complexity_bits",
        "zero_times_log_zero",
        "0 log 0 is computed as it stands. Its limit is 0: leave out a count of 0.",
        {"count * math.log(count / n)": "float(count * np.log(np.divide(count, n)))", " if count)": ")"},
    ),
    Mistake(
        "nml_complexity_bits",
        "factor_of_zeros_missing",
        "the factor (1 - k/n)^(n-k) is missing: the zeros have a probability as well.",
        {"for count in (k, n - k)": "for count in (k,)"},
    ),
    Mistake(
        "nml_complexity_bits",
        "overflow",
        "the binomial coefficient, or a power, does not fit in a float for thousands of symbols. Add logarithms.",
        {
            "math.exp(nats)": "float(math.comb(n, k)) * (k / n) ** k * (1 - k / n) ** (n - k)",
        },
    ),
    Mistake(
        "nml_complexity_bits",
        "asymptotic_formula",
        "this is the limit for large n, 1/2 log2(n pi / 2). Equation (5) is exact for every n.",
        {"return math.log2(total)": "return 0.5 * math.log2(n * math.pi / 2)"},
    ),
    Mistake(
        "nml_complexity_bits",
        "count_of_parameter_values",
        "this is log2(n + 1), the cost of sending k as one of n + 1 counts. NML is cheaper.",
        {"return math.log2(total)": "return math.log2(n + 1)"},
    ),
    # bernoulli_bits
    Mistake(
        "bernoulli_bits",
        "final_estimate_in_kt",
        "KT uses the counts of the whole sequence for every symbol. The decoder has not seen it yet: count only what "
        "came before.",
        {"(seen[symbol] + 0.5) / (t + 1)": "((k, n - k)[1 - symbol] + 0.5) / (n + 1)"},
    ),
    Mistake(
        "bernoulli_bits",
        "symbol_counted_before_it_is_paid",
        "in KT a symbol is counted before it is paid for, so it helps to predict itself. The decoder can't do that.",
        {
            "        kt -= math.log2((seen[symbol] + 0.5) / (t + 1))\n        seen[symbol] += 1": (
                "        seen[symbol] += 1\n        kt -= math.log2((seen[symbol] + 0.5) / (t + 2))"
            )
        },
    ),
    Mistake(
        "bernoulli_bits",
        "laplace",
        "this is Laplace's rule, (count + 1) / (t + 2). Krichevsky and Trofimov add one half.",
        {"(seen[symbol] + 0.5) / (t + 1)": "(seen[symbol] + 1) / (t + 2)"},
    ),
    Mistake(
        "bernoulli_bits",
        "kt_denominator",
        "the two KT predictions do not add up to 1: one half is added to both counts, so the denominator is t + 1.",
        {"(t + 1)": "(t + 0.5)"},
    ),
    Mistake(
        "bernoulli_bits",
        "kt_predicts_ones_only",
        "KT pays every symbol with the probability of a one. A zero is paid with its own count.",
        {"(seen[symbol] + 0.5)": "(seen[1] + 0.5)"},
    ),
    Mistake(
        "bernoulli_bits",
        "grid_index_is_free",
        "the two-part code does not pay for naming one of the m parameters: log2 m bits.",
        {"math.log2(len(theta)) + np.min": "np.min"},
    ),
    Mistake(
        "bernoulli_bits",
        "best_parameter_off_the_grid",
        "the two-part code uses k/n, which the receiver can't know: only values on the grid can be named.",
        {"np.min(-k * np.log2(theta) - (n - k) * np.log2(1 - theta))": "ml"},
    ),
    Mistake(
        "bernoulli_bits",
        "first_grid_value",
        "the two-part code doesn't look for the grid value with the fewest bits.",
        {
            "np.min(-k * np.log2(theta) - (n - k) * np.log2(1 - theta))": (
                "(-k * np.log2(theta) - (n - k) * np.log2(1 - theta))[0]"
            )
        },
    ),
    Mistake(
        "bernoulli_bits",
        "ones_and_zeros_swapped",
        "ones and zeros are swapped in the two-part code: theta is the probability of a one.",
        {"-k * np.log2(theta) - (n - k) * np.log2(1 - theta)": "-k * np.log2(theta) - (n - k) * np.log2(theta)"},
    ),
    Mistake(
        "bernoulli_bits",
        "32_bits_for_the_parameter",
        "the two-part code sends k/n as a 32-bit float: a real code, but not that of equation (7).",
        {"math.log2(len(theta)) + np.min(-k * np.log2(theta) - (n - k) * np.log2(1 - theta))": "ml + 32"},
    ),
    Mistake(
        "bernoulli_bits",
        "nats",
        "the lengths of ml and of KT are in nats. Bits take the logarithm to base 2.",
        {"-count * math.log2(count / n)": "-count * math.log(count / n)", "kt -= math.log2": "kt -= math.log"},
    ),
    Mistake(
        "bernoulli_bits",
        "zero_times_log_zero",
        "0 log 0 is computed as it stands when all symbols are alike. Its limit is 0: leave out a count of 0.",
        {"-count * math.log2(count / n)": "-count * np.log2(np.divide(count, n))", " if count)": ")"},
    ),
    Mistake(
        "bernoulli_bits",
        "mean_per_symbol",
        "ml is the entropy of one symbol. The message has n of them.",
        {"-count * math.log2(count / n)": "-count / n * math.log2(count / n)"},
    ),
    Mistake(
        "bernoulli_bits",
        "nml_without_its_complexity",
        "nml is the same as ml: the parametric complexity is missing, without which it is no code.",
        {"ml + nml_complexity_bits(n)": "float(ml)"},
    ),
    # markov_kt_bits
    Mistake(
        "markov_kt_bits",
        "parameters_charged_twice",
        "half of log2 n is added for each context. KT already pays for its parameters by predicting badly at first.",
        {"    return bits": "    return bits + 0.5 * len(seen) * math.log2(len(x))"},
    ),
    Mistake(
        "markov_kt_bits",
        "contexts_share_counts",
        "all contexts share one pair of counts. Each keeps its own two.",
        {"tuple(x[t - order : t])": "()"},
    ),
    Mistake(
        "markov_kt_bits",
        "first_symbols_free",
        "the first symbols cost nothing, though the receiver doesn't know them: 1 bit each.",
        {"float(min(order, len(x)))": "0.0"},
    ),
    Mistake(
        "markov_kt_bits",
        "start_longer_than_the_sequence",
        "a sequence shorter than the order still pays for `order` symbols. It has only n.",
        {"min(order, len(x))": "order"},
    ),
    Mistake(
        "markov_kt_bits",
        "context_holds_the_symbol",
        "the context holds the symbol that is to be paid for. It ends one symbol earlier.",
        {"x[t - order : t])": "x[t - order + 1 : t + 1])"},
    ),
    Mistake(
        "markov_kt_bits",
        "last_symbol_only",
        "only the last symbol decides which counts are used. The context holds `order` symbols.",
        {"tuple(x[t - order : t])": "tuple(x[max(t - 1, t - order) : t])"},
    ),
    Mistake(
        "markov_kt_bits",
        "context_without_order",
        "contexts with the same number of ones share counts. The order of their symbols matters.",
        {"tuple(x[t - order : t])": "int(sum(x[t - order : t]))"},
    ),
    Mistake(
        "markov_kt_bits",
        "symbol_counted_before_it_is_paid",
        "a symbol is counted before it is paid for, so it helps to predict itself. The decoder can't do that.",
        {
            "        bits -= math.log2((counts[x[t]] + 0.5) / (sum(counts) + 1))\n        counts[x[t]] += 1": (
                "        counts[x[t]] += 1\n        bits -= math.log2((counts[x[t]] + 0.5) / (sum(counts) + 1))"
            )
        },
    ),
    Mistake(
        "markov_kt_bits",
        "denominator_is_time",
        "the denominator counts all symbols so far. It is how often *this* context was seen, plus 1.",
        {"(sum(counts) + 1)": "(t + 1)"},
    ),
    Mistake(
        "markov_kt_bits",
        "laplace",
        "this is Laplace's rule, (count + 1) / (n0 + n1 + 2). Krichevsky and Trofimov add one half.",
        {"(counts[x[t]] + 0.5) / (sum(counts) + 1)": "(counts[x[t]] + 1) / (sum(counts) + 2)"},
    ),
    Mistake(
        "markov_kt_bits",
        "nats",
        "the predictions are paid in nats and the first symbols in bits. Take the logarithm to base 2.",
        {"math.log2((counts": "math.log((counts"},
    ),
    # code_length_forward
    Mistake(
        "code_length_forward",
        "mean_over_examples",
        "the labels' part is a mean. A code length is a sum over data: every label is sent.",
        {"nats = -np.sum(log_p[np.arange(len(y)), y])": "nats = -np.mean(log_p[np.arange(len(y)), y])"},
    ),
    Mistake(
        "code_length_forward",
        "nats",
        "the result is in nats: divide by ln 2.",
        {"nats / math.log(2)": "nats"},
    ),
    Mistake(
        "code_length_forward",
        "weights_in_nats",
        "the labels are in bits and the weights in nats, so they can't be added.",
        {"float(nats / math.log(2))": "float(nats - (1 - 1 / math.log(2)) * np.sum(-log_p[np.arange(len(y)), y]))"},
    ),
    Mistake(
        "code_length_forward",
        "labels_in_nats",
        "the labels are in nats and the weights in bits, so they can't be added.",
        {
            "float(nats / math.log(2))": (
                "float(nats / math.log(2) + (1 - 1 / math.log(2)) * np.sum(-log_p[np.arange(len(y)), y]))"
            )
        },
    ),
    Mistake(
        "code_length_forward",
        "weights_are_free",
        "only the labels are paid for. The receiver needs the weights as well.",
        {"    for w in params.values():\n": "    for w in ():\n"},
    ),
    Mistake(
        "code_length_forward",
        "constant_missing",
        "the prior's constant, ln(sigma0 sqrt(2 pi) / delta) per number, is missing: then zero weights would be free.",
        {" + w.size * math.log(sigma0 * math.sqrt(2 * math.pi) / delta)": ""},
    ),
    Mistake(
        "code_length_forward",
        "constant_once_per_array",
        "the prior's constant counts once per array. Every number in it is sent.",
        {"w.size * math.log": "math.log"},
    ),
    Mistake(
        "code_length_forward",
        "step_missing",
        "delta is not used: a density is no probability before it is multiplied by the width of a cell.",
        {" / delta)": ")"},
    ),
    Mistake(
        "code_length_forward",
        "step_upside_down",
        "a finer grid makes the message shorter here: delta stands on the wrong side of the fraction.",
        {" / delta)": " * delta)"},
    ),
    Mistake(
        "code_length_forward",
        "biases_are_free",
        "the biases are not paid for: the receiver needs them too.",
        {"for w in params.values():": 'for w in (params["W1"], params["W2"]):'},
    ),
    Mistake(
        "code_length_forward",
        "one_half_missing",
        "the square is divided by sigma0², not by 2 sigma0².",
        {"(2 * sigma0**2)": "sigma0**2"},
    ),
    Mistake(
        "code_length_forward",
        "variance_for_deviation",
        "sigma0 is used as if it were a variance: it is a standard deviation, so the square is divided by 2 sigma0².",
        {"(2 * sigma0**2)": "(2 * sigma0)"},
    ),
    Mistake(
        "code_length_forward",
        "relu",
        "the hidden layer uses another non-linearity than tanh.",
        {'np.tanh(X @ params["W1"] + params["b1"])': 'np.maximum(X @ params["W1"] + params["b1"], 0)'},
    ),
    # code_length_backward
    Mistake(
        "code_length_backward",
        "ln_2_missing",
        "1/ln 2 is missing: these are the gradients of the length in nats.",
        {"dbits / math.log(2)": "dbits"},
    ),
    Mistake(
        "code_length_backward",
        "ln_2_missing_in_the_prior",
        "1/ln 2 is missing in the prior's part: both parts of (10) are divided by ln 2.",
        {"grad + dnats * params": "grad + dbits * params"},
    ),
    Mistake(
        "code_length_backward",
        "ln_2_missing_in_the_data",
        "1/ln 2 is missing in the labels' part: both parts of (10) are divided by ln 2.",
        {"dZ *= dnats": "dZ *= dbits"},
    ),
    Mistake(
        "code_length_backward",
        "mean_over_examples",
        "the labels' part is averaged over the batch, so the prior weighs B times too much. A code length is a sum.",
        {"dZ *= dnats": "dZ *= dnats / len(y)"},
    ),
    Mistake(
        "code_length_backward",
        "prior_missing",
        "the prior's part is missing: each weight's own bits depend on it as well.",
        {"grad + dnats * params[name] / sigma0**2": "grad"},
    ),
    Mistake(
        "code_length_backward",
        "prior_not_on_biases",
        "the biases have no prior term. They are sent like the weights.",
        {"grad + dnats * params[name] / sigma0**2": 'grad + (name[0] == "W") * dnats * params[name] / sigma0**2'},
    ),
    Mistake(
        "code_length_backward",
        "prior_deviation_not_squared",
        "the prior's term is divided by sigma0. Its variance is sigma0².",
        {"/ sigma0**2": "/ sigma0"},
    ),
    Mistake(
        "code_length_backward",
        "upstream_ignored",
        "the upstream gradient is not used: this is right only for dbits = 1.",
        {"dbits / math.log(2)": "1 / math.log(2)"},
    ),
    Mistake(
        "code_length_backward",
        "upstream_ignored_in_the_prior",
        "the upstream gradient is not used in the prior's part.",
        {"grad + dnats * params": "grad + 1 / math.log(2) * params"},
    ),
    Mistake(
        "code_length_backward",
        "tanh_derivative_missing",
        "the way back through tanh lacks its derivative, 1 - h².",
        {" * (1 - h**2)": ""},
    ),
    Mistake(
        "code_length_backward",
        "labels_not_subtracted",
        "the labels are not subtracted from the probabilities.",
        {"    dZ[np.arange(len(y)), y] -= 1\n": ""},
    ),
    Mistake(
        "code_length_backward",
        "labels_minus_probabilities",
        "the sign of the labels' part is wrong: it is P - Y.",
        {"dZ *= dnats": "dZ *= -dnats"},
    ),
    Mistake(
        "code_length_backward",
        "db_averaged",
        "the biases' gradients are averaged over the batch. They are sums of rows.",
        {"dA.sum(axis=0)": "dA.mean(axis=0)", "dZ.sum(axis=0)": "dZ.mean(axis=0)"},
    ),
    # variational_code_grad
    Mistake(
        "variational_code_grad",
        "nats",
        "all three results are in nats: divide the length and both gradients by ln 2.",
        {"nats / math.log(2)": "nats", "dmu / math.log(2)": "dmu", "drho / math.log(2)": "drho"},
    ),
    Mistake(
        "variational_code_grad",
        "gradients_in_nats",
        "the length is in bits and its gradients are in nats: divide them by ln 2 too.",
        {"dmu / math.log(2)": "dmu", "drho / math.log(2)": "drho"},
    ),
    Mistake(
        "variational_code_grad",
        "softplus_derivative_missing",
        "drho is the gradient with respect to s. The chain goes on through the softplus to rho.",
        {"ds * np.exp(rho - s)": "ds"},
    ),
    Mistake(
        "variational_code_grad",
        "as_if_s_were_exp_rho",
        "the derivative of s is taken to be s, as for s = exp(rho). For a softplus it is the sigmoid of rho.",
        {"ds * np.exp(rho - s)": "ds * s"},
    ),
    Mistake(
        "variational_code_grad",
        "sigmoid_overflows",
        "for large rho the derivative is inf / inf. Write it as exp(rho - s).",
        {"np.exp(rho - s)": "np.exp(rho) / (1 + np.exp(rho))"},
    ),
    Mistake(
        "variational_code_grad",
        "kl_direction",
        "the KL runs from the prior to the weights' distribution. The receiver holds the prior: turn it round.",
        {
            "np.log(sigma0 / s) + (s**2 + mu**2) / (2 * sigma0**2)": (
                "np.log(s / sigma0) + (sigma0**2 + mu**2) / (2 * s**2)"
            ),
            "dmu = mu / sigma0**2": "dmu = mu / s**2",
            "- 1 / s + s / sigma0**2": "+ 1 / s - (sigma0**2 + mu**2) / s**3",
        },
    ),
    Mistake(
        "variational_code_grad",
        "entropy_bonus_missing",
        "the noise's bits are not given back: ln(sigma0 / s) - 1/2 is missing, so a mean costs no less than a weight.",
        {"np.log(sigma0 / s) + (s**2 + mu**2)": "(s**2 + mu**2)", " - 0.5)": ")", "- 1 / s + s": "+ s"},
    ),
    Mistake(
        "variational_code_grad",
        "noise_ignored_in_the_data",
        "the data part uses the mean weights only. Noisy weights add s² q to the expected squared error.",
        {"(np.sum(r**2) + np.sum(s**2 * q))": "np.sum(r**2)", "s * q / noise**2 - 1 / s": "-1 / s"},
    ),
    Mistake(
        "variational_code_grad",
        "gradient_without_q",
        "the gradient of rho lacks the data's part, s q / noise²: nothing would keep a weight precise.",
        {"s * q / noise**2 - 1 / s": "-1 / s"},
    ),
    Mistake(
        "variational_code_grad",
        "variance_for_deviation",
        "s is used as if it were the variance: the softplus gives the standard deviation, so squares need s².",
        {
            "np.sum(s**2 * q)": "np.sum(s * q)",
            "np.log(sigma0 / s) + (s**2 + mu**2)": "0.5 * np.log(sigma0**2 / s) + (s + mu**2)",
            "ds = s * q / noise**2 - 1 / s + s / sigma0**2": ("ds = 0.5 * q / noise**2 - 0.5 / s + 0.5 / sigma0**2"),
        },
    ),
    Mistake(
        "variational_code_grad",
        "mean_over_examples",
        "the data part is divided by n. A code length is a sum over data.",
        {
            "(np.sum(r**2) + np.sum(s**2 * q)) / (2 * noise**2)": (
                "(np.sum(r**2) + np.sum(s**2 * q)) / (2 * len(y) * noise**2)"
            ),
            "0.5 * len(y) * math.log": "0.5 * math.log",
            "X.T @ r / noise**2": "X.T @ r / noise**2 / len(y)",
            "s * q / noise**2": "s * q / noise**2 / len(y)",
        },
    ),
    Mistake(
        "variational_code_grad",
        "normaliser_missing",
        "the Gaussian's constant, n/2 ln(2 pi noise²), is missing from the length.",
        {"0.5 * len(y) * math.log(2 * math.pi * noise**2) + ": ""},
    ),
    Mistake(
        "variational_code_grad",
        "mean_without_prior",
        "dmu lacks the prior's part, mu / sigma0².",
        {"dmu = mu / sigma0**2 - X.T": "dmu = -X.T"},
    ),
    Mistake(
        "variational_code_grad",
        "residual_sign",
        "the data part of dmu has the wrong sign: r = y - X mu falls as mu grows.",
        {"- X.T @ r": "+ X.T @ r"},
    ),
    # prequential_bits
    Mistake(
        "prequential_bits",
        "trained_on_the_block_too",
        "each network is trained on the block that it then pays for. The receiver doesn't have those labels yet.",
        {"fit(model, X[:known], y[:known])": "fit(model, X[:end], y[:end])"},
    ),
    Mistake(
        "prequential_bits",
        "trained_on_everything",
        "each network is trained on all labels. The receiver has only those before the block.",
        {"fit(model, X[:known], y[:known])": "fit(model, X, y)"},
    ),
    Mistake(
        "prequential_bits",
        "first_block_free",
        "the first block costs nothing. Nobody has learned anything yet: log2 C bits per label.",
        {"[splits[0] * math.log2(classes)]": "[0.0]"},
    ),
    Mistake(
        "prequential_bits",
        "first_block_in_nats",
        "the first block is in nats: a label costs log2 C bits.",
        {"math.log2(classes)": "math.log(classes)"},
    ),
    Mistake(
        "prequential_bits",
        "first_block_one_bit_per_label",
        "the first block costs 1 bit per label. With C classes it is log2 C.",
        {"splits[0] * math.log2(classes)": "float(splits[0])"},
    ),
    Mistake(
        "prequential_bits",
        "same_network_goes_on",
        "one network is trained again and again. Equation (15) trains a fresh one before each block.",
        {
            "    for known, end": "    model = make_model()\n    for known, end",
            "        model = make_model()\n        fit": "        fit",
        },
    ),
    Mistake(
        "prequential_bits",
        "untrained",
        "the networks are never trained.",
        {"        fit(model, X[:known], y[:known])\n": ""},
    ),
    Mistake(
        "prequential_bits",
        "previous_block_only",
        "each network sees only the block before. The receiver remembers all of them.",
        {
            "    for known, end": "    before = 0\n    for known, end",
            "fit(model, X[:known], y[:known])": "fit(model, X[before:known], y[before:known])\n        before = known",
        },
    ),
    Mistake(
        "prequential_bits",
        "all_labels_paid_again",
        "each block pays for all labels up to its end, so early labels are sent again and again.",
        {"data_bits(model, X[known:end], y[known:end])": "data_bits(model, X[:end], y[:end])"},
    ),
    Mistake(
        "prequential_bits",
        "mean_per_label",
        "a block's entry is a mean per label. A code length is a sum.",
        {"y[known:end]).item())": "y[known:end]).item() / (end - known))"},
    ),
    Mistake(
        "prequential_bits",
        "blocks_in_nats",
        "the later blocks are in nats and the first in bits. data_bits is in bits already.",
        {"y[known:end]).item())": "y[known:end]).item() * math.log(2))"},
    ),
    # mdl_prune
    Mistake(
        "mdl_prune",
        "masks_not_reapplied",
        "pruned weights come back to life in training. Apply the masks after every step.",
        {"after_step=partial(keep_only, net, masks)": "after_step=None"},
    ),
    Mistake(
        "mdl_prune",
        "masks_after_training_only",
        "the masks are applied before and after training, not after every step: the network learns with weights that "
        "it then loses.",
        {
            "fit(net, X, y, after_step=partial(keep_only, net, masks))": (
                "fit(net, X, y, after_step=None)\n        keep_only(net, masks)"
            )
        },
    ),
    Mistake(
        "mdl_prune",
        "first_step_with_all_weights",
        "training starts before anything is pruned: apply the masks once before it.",
        {"        keep_only(net, masks)\n": ""},
    ),
    Mistake(
        "mdl_prune",
        "positions_free",
        "the receiver is not told which weights remain: log2 of N choose m, and log2(N + 1) for m itself.",
        {"math.log2(N + 1) + math.log2(math.comb(N, kept))": "0.0"},
    ),
    Mistake(
        "mdl_prune",
        "count_free",
        "the receiver is not told how many weights remain: log2(N + 1) bits.",
        {"math.log2(N + 1) + ": ""},
    ),
    Mistake(
        "mdl_prune",
        "positions_as_indices",
        "each kept weight pays log2 N for its index. Their order carries nothing: log2 of N choose m is less.",
        {"math.log2(math.comb(N, kept))": "kept * math.log2(N)"},
    ),
    Mistake(
        "mdl_prune",
        "positions_in_nats",
        "the positions are in nats: take the logarithm to base 2.",
        {"math.log2(N + 1) + math.log2(math.comb": "math.log(N + 1) + math.log(math.comb"},
    ),
    Mistake(
        "mdl_prune",
        "zeros_paid_for",
        "pruned weights are still paid for as values. The receiver knows from the positions that they are zero.",
        {"w[mask] for w, mask": "w for w, mask"},
    ),
    Mistake(
        "mdl_prune",
        "biases_free",
        "the biases are not paid for: they are sent, though never pruned.",
        {"        values += [b for b in sent.parameters() if b.ndim == 1]\n": ""},
    ),
    Mistake(
        "mdl_prune",
        "largest_removed",
        "the largest weights are removed. Keep those, and remove the smallest.",
        {
            "sort(descending=True)": "sort()",
            "w.detach().abs() >= least": "w.detach().abs() <= least",
        },
    ),
    Mistake(
        "mdl_prune",
        "signed_sizes",
        "weights are compared with their signs: a large negative weight counts as small.",
        {"w.detach().abs()": "w.detach()"},
    ),
    Mistake(
        "mdl_prune",
        "each_matrix_by_itself",
        "each matrix is pruned to the same share. All entries compete together for the m places.",
        {
            "masks = [w.detach().abs() >= least for w in matrices(net)]": (
                "masks = [w.detach().abs() >= w.detach().abs().flatten().sort(descending=True)"
                ".values[max(0, w.numel() - round(sparsity * w.numel()) - 1)] for w in matrices(net)]"
            )
        },
    ),
    Mistake(
        "mdl_prune",
        "sparsity_is_the_share_kept",
        "sparsity is taken for the share that remains. It is the share that is removed.",
        {"len(sizes) - round(sparsity * len(sizes))": "max(1, round(sparsity * len(sizes)))"},
    ),
    Mistake(
        "mdl_prune",
        "not_rounded",
        "bits are counted for weights that are not on the grid, which can't be sent. Round first.",
        {"rounded(net, delta)": "net"},
    ),
    Mistake(
        "mdl_prune",
        "labels_by_the_unrounded_network",
        "the labels are paid with the unrounded network. The receiver holds the rounded one.",
        {"data_bits(sent, X, y)": "data_bits(net, X, y)", "(sent(X).argmax": "(net(X).argmax"},
    ),
    Mistake(
        "mdl_prune",
        "given_network_changed",
        "the network that was given is changed, so every sparsity starts from what the one before left over. "
        "Work on the copy.",
        {"net = copy.deepcopy(model)": "net = model"},
    ),
]
